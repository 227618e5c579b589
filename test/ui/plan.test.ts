import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Expr } from '../../src/expr/types.js'
import type { Plan, PlanTensor } from '../../src/plan/types.js'
import { formatPlan, PLAN_FORMATS } from '../../src/ui/plan/index.js'

const read = (file: number): Expr => ({
  kind: 'read',
  view: { kind: 'stored', file, tensor: 'w', dtype: 'F32', shape: [4], offset: 0, bytes: 16 },
})
const merge = (step: string, method: string, models: string[], inputs: Expr[], base?: Expr): Expr => ({
  kind: 'merge',
  step,
  method,
  models,
  weights: models.map(() => 1),
  parameters: { t: Number.POSITIVE_INFINITY },
  inputs,
  ...(base ? { base } : {}),
})
const tensor = (expr: Expr, more: Partial<PlanTensor> = {}): PlanTensor => ({
  name: 'w',
  dtype: 'F32',
  shape: [2, 2],
  placements: [{ name: 'w', dtype: 'F32', shape: [2, 2], file: 0, offset: 0, bytes: 16, from: 0, count: 4 }],
  expr,
  ...more,
})

/** Names that would end a string, start markup or steer a terminal in one of the forms. */
const EVIL = 'b"]; x -> y <img src=x> `**`\u001b[2J\n\u009b|%#\\'

const inner = merge('soup', 'linear', ['a', EVIL], [read(0), read(1)])
const plan: Plan = {
  plan: 2,
  compute: 'float32',
  seed: 7,
  models: [
    { name: 'a', reference: 'a' },
    { name: EVIL, reference: '../b.safetensors' },
  ],
  files: [0, 1].map((model) => ({ model, name: 'f', size: 1500, headerBytes: 8, headerDigest: 'x', tensors: [] })),
  outputs: [
    {
      path: `out/${EVIL}`,
      spec: 0,
      keep: true,
      layout: 'folder',
      from: 'final',
      files: [{ name: 'model.safetensors', size: 2048, header: '{}' }],
      tensors: [
        tensor(merge('final', 'slerp', ['soup', 'a'], [inner, read(0)]), { rule: 0 }),
        tensor(merge('final', 'linear', ['a'], [read(0)], read(1)), {
          absent: [EVIL, 'a'].map((model, i) => ({ model, reason: (['shape', 'dtype'] as const)[i]! })),
        }),
        tensor(read(0), { reason: 'excluded' }),
        tensor(read(0), { reason: 'excluded' }),
        tensor(read(1), { reason: 'not-float', dtype: 'I64' }),
      ],
      indexes: [],
      sidecars: [{ name: 'config.json', kind: 'copy', model: 0 }],
      metadata: {},
    },
  ],
  analyses: [],
  scopes: [],
  factorings: [],
  steps: [
    { name: 'soup', kind: 'merge', patterns: [] },
    { name: 'final', kind: 'merge', patterns: [{ pattern: EVIL, where: 'rule', rule: 0, matches: 4, applies: 1 }] },
  ],
  cost: { read: 5e9, write: 1.5e9 },
  warnings: [],
  digest: 'sha256:11',
}

const SAFE = EVIL.replace(/[\u001b\n\u009b]/g, '\ufffd')
const format = (form: (typeof PLAN_FORMATS)[number], made: Plan = plan, memory = 3e8): string =>
  formatPlan(made, form, {
    threads: 2,
    memory,
    limit: 1e9,
    steps: [[], []],
    analyses: [],
    updates: new Map(),
    data: () => made,
  })

test('tree: a run that needs more memory than the limit is refused', () =>
  assert.match(
    format('tree', plan, 1.504e9),
    'memory: at most 1.50 GB with 2 threads, more than the limit of 1.00 GB: a run requires --memory 1.51GB',
  ))

test('no form lets a control character through', () => {
  for (const form of PLAN_FORMATS) assert.not.match(format(form), /[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/)
})

test('tree: who, what, why, how much', () => {
  assert.is(
    format('tree'),
    `plan sha256:11
├─ models
│  ├─ a: a (1 file, 1.50 kB)
│  └─ ${SAFE}: ../b.safetensors (1 file, 1.50 kB)
├─ steps
│  ├─ soup: merge
│  └─ final: merge
│     └─ rule 1 ${SAFE}: matches 4 tensors, applies to 1
├─ output
│  └─ out/${SAFE} from final
│     ├─ merged: 2 tensors
│     │  ├─ slerp(linear): 1
│     │  └─ linear: 1
│     ├─ copied: 3 tensors
│     │  ├─ excluded by filters: 2
│     │  └─ not a floating-point dtype: 1
│     ├─ without ${SAFE}, which has them in another shape: 1 tensor
│     ├─ without a, which has no floating-point values there: 1 tensor
│     ├─ 1 file, 2.05 kB, 5 tensors (F32 4, I64 1)
│     └─ other files: config.json
├─ arithmetic: float32, seed 7
├─ to read: 5.00 GB, to write: 1.50 GB
└─ memory: at most 300 MB with 2 threads`,
  )
})

test('dot: quotes and backslashes escaped', () => {
  const evil = SAFE.replaceAll('\\', '\\\\').replaceAll('"', '\\"')
  assert.is(
    format('dot'),
    `digraph plan {
  rankdir=LR
  n0 [shape=box, label="a"]
  n1 [shape=box, label="${evil}\\n../b.safetensors"]
  n2 [shape=ellipse, label="soup\\nmerge"]
  n3 [shape=ellipse, label="final\\nmerge"]
  n4 [shape=note, label="out/${evil}"]
  n2 -> n3 [label="slerp 1"]
  n0 -> n2 [label="linear 1"]
  n1 -> n2 [label="linear 1"]
  n0 -> n3 [label="slerp 1, linear 1, copied 2"]
  n1 -> n3 [label="base 1, copied 1"]
  n3 -> n4 [label="5 tensors"]
}`,
  )
})

test('mermaid: only the forms of its own syntax', () => {
  const lines = format('mermaid').split('\n')
  assert.is(lines[0], 'flowchart LR')
  assert.is(lines[1], '  n0["a"]')
  const label = '"(?:[\\p{L}\\p{N} .,:_/()+=@-]|#\\d+;|<br>)*"'
  const line = new RegExp(
    `^  (n\\d+(\\[\\[${label}\\]\\]|\\[${label}\\]|\\(${label}\\))|n\\d+ -->\\|${label}\\| n\\d+)$`,
    'u',
  )
  for (const each of lines.slice(1)) assert.match(each, line)
  assert.is(lines.length, 12)
})

test('JSON: the whole plan', () => {
  const value = JSON.parse(format('json'))
  assert.equal(value.outputs[0].files, [{ name: 'model.safetensors', size: 2048, header: '{}' }])
  assert.equal([value.digest, value.threads, value.memory], ['sha256:11', 2, 3e8])
  assert.is(value.models[1].name, EVIL)
  assert.is(value.outputs[0].tensors[0].expr.parameters.t, 'Infinity')
})

test.run()
