/** A plan by hand with a step fused into another, a copy, and names that need care; and the lineage of it. */
import { createHash } from 'node:crypto'
import type { MergeExpr, ReadExpr } from '../../src/expr/types.js'
import type { ModelSource } from '../../src/language/types.js'
import { buildLineage, type LineageInput } from '../../src/lineage/build.js'
import type { BytesDigest } from '../../src/lineage/fileDigest.js'
import type { Lineage } from '../../src/lineage/types.js'
import type { Plan, PlanTensor } from '../../src/plan/types.js'
import type { MergeStep } from '../../src/steps/merge/types.js'

/** Stands in for the tree digest: any function of the bytes does. */
export const bytesDigest: BytesDigest = (bytes) =>
  `xxh3t:${createHash('sha256').update(bytes).digest('hex').slice(0, 32)}`

export const digestOf = (text: string): string => bytesDigest(Buffer.from(text))

const read = (file: number, tensor: string): ReadExpr => ({
  kind: 'read',
  view: { kind: 'stored', file, tensor, dtype: 'F32', shape: [2, 3], offset: 0, bytes: 24 },
})

const average = (
  step: string,
  models: readonly string[],
  weights: readonly number[],
  inputs: MergeExpr['inputs'],
): MergeExpr => ({
  kind: 'merge',
  step,
  method: 'linear',
  models,
  weights,
  parameters: { normalize: true },
  inputs,
})

function tensor(name: string, rest: Partial<PlanTensor> & Pick<PlanTensor, 'expr'>): PlanTensor {
  const { dtype = 'F32', shape = [2, 3] } = rest
  const stored = { name, dtype, shape, file: 0, offset: 0, bytes: 24, from: 0, count: 6 }
  return { name, dtype, shape, placements: [stored], ...rest }
}

/** Three models, `soup` of b and a, `final` of soup, c and of task vectors on soup. */
export const tensors: readonly PlanTensor[] = [
  tensor('layers.0.weight', {
    expr: average(
      'final',
      ['soup', 'c'],
      [1, 1],
      [
        average('soup', ['b', 'a'], [3, 1], [read(1, 'layers.0.weight'), read(0, 'layers.0.weight')]),
        read(2, 'layers.0.weight'),
      ],
    ),
    rule: -1,
  }),
  // The step `soup` only took this tensor over.
  tensor('layers.1.weight', {
    expr: average('final', ['soup', 'c'], [1, 3], [read(0, 'layers.1.weight'), read(2, 'renamed')]),
    rule: -1,
    absent: [{ model: 'b', reason: 'shape' }],
  }),
  tensor('task', {
    expr: {
      kind: 'merge',
      step: 'final',
      method: 'task_arithmetic',
      models: ['c'],
      weights: [0.5],
      parameters: { lambda: 1, normalize: false },
      inputs: [read(2, 'task')],
      base: average('soup', ['b', 'a'], [1, 1], [read(1, 'task'), read(0, 'task')]),
    },
    rule: 0,
  }),
  tensor('__proto__', { expr: read(0, '__proto__'), reason: 'excluded' }),
  tensor('10', {
    expr: average('soup', ['b', 'a'], [1, 1], [read(1, '10'), read(0, '10')]),
    reason: 'not-included',
  }),
]

export const plan: Plan = {
  plan: 2,
  compute: 'float32',
  seed: 7,
  models: ['a', 'b', 'c'].map((name) => ({ name, reference: `models/${name}.safetensors` })),
  files: ['a', 'b', 'c'].map((name, model) => ({
    model,
    name: `${name}.safetensors`,
    size: 100 + model,
    headerBytes: 80,
    headerDigest: digestOf(name),
    tensors: [],
  })),
  outputs: [
    {
      path: 'out/merged.safetensors',
      spec: 0,
      keep: true,
      layout: 'file',
      from: 'final',
      files: [{ name: 'model.safetensors', size: 500, header: '{}' }],
      tensors,
      indexes: [],
      sidecars: [],
      metadata: {},
    },
  ],
  analyses: [],
  scopes: [],
  factorings: [],
  steps: [
    { name: 'soup', kind: 'merge', patterns: [] },
    { name: 'final', kind: 'merge', patterns: [{ pattern: 'task', where: 'rule', rule: 0, matches: 1, applies: 1 }] },
  ],
  cost: { read: 0, write: 0 },
  warnings: [],
  digest: `sha256:${'ab'.repeat(32)}`,
}

const source = (name: string): ModelSource => ({
  name,
  at: ['models', name],
  reference: `models/${name}.safetensors`,
  origin: 'path',
  rename: [],
})

const step = (name: string, base: string, models: readonly string[]): MergeStep => ({
  kind: 'merge',
  name,
  at: ['steps', name],
  base,
  baseWritten: true,
  filters: { include: [], exclude: [] },
  settings: { method: 'linear', at: [], models, weights: models.map(() => [1]), weightsAt: [], parameters: new Map() },
  rules: [],
  onMissing: 'copy',
  onMismatch: 'copy',
})

/** Written in another order than that of the names, with a model that nothing uses before the others. */
export const recipe: LineageInput['recipe'] = {
  text: 'terge: 1\nmodels: …\n',
  overrides: ['seed=7'],
  models: new Map(['unused', 'c', 'a', 'b'].map((name) => [name, source(name)])),
  steps: [step('soup', 'a', ['b', 'a']), step('other', 'c', ['c', 'b']), step('final', 'soup', ['soup', 'c'])],
}

export const input: LineageInput = {
  plan,
  recipe,
  output: 0,
  read: { files: plan.files.map((file) => digestOf(`data of ${file.name}`)) },
  made: {
    files: [digestOf('out')],
    records: tensors.map(({ name }) => ({ outputs: [digestOf(name)], figures: {} })),
  },
  version: '0.1.0',
  bytesDigest,
}

export const sample: Lineage = buildLineage(input)
