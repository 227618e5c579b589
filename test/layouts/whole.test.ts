/** Models that hold a part of a network twice, not at all, or in layers of several layouts: refused, as base and otherwise. */
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Checkpoint, LogicalTensor } from '../../src/checkpoints/types.js'
import { loadRecipe } from '../../src/recipe/load.js'
import { bare, edited, laid, opened } from '../support/layouts.js'
import { fixture } from '../support/terge.js'

const cache = new Map<string, Promise<Checkpoint>>()
const modelOf = (side: string): Promise<Checkpoint> => {
  const known = cache.get(side) ?? opened(path.join(fixture('layouts'), side))
  cache.set(side, known)
  return known
}

type Edit = (tensors: Map<string, LogicalTensor>, other: Checkpoint) => void

const MERGE = 'base: base\nmerge: {method: linear, models: [base, own], weights: [0.5, 0.5]}\noutput: out'
const CONVERT = 'output: {path: out, from: base, layout: qwen2-moe/transformers-5}'

const copy = (tensors: Map<string, LogicalTensor>, tensor: LogicalTensor, name: string): void => {
  tensors.set(name, { ...tensor, name })
}
const without =
  (names: RegExp): Edit =>
  (tensors) => {
    for (const name of [...tensors.keys()]) if (names.test(name)) tensors.delete(name)
  }
const renamed =
  (from: RegExp, to: string): Edit =>
  (tensors) => {
    for (const [name, tensor] of [...tensors])
      if (from.test(name)) {
        tensors.delete(name)
        copy(tensors, tensor, name.replace(from, to))
      }
  }
/** Adds the tensors of the other side. */
const withOthers =
  (names: RegExp): Edit =>
  (tensors, other) => {
    for (const [name, tensor] of other.tensors) if (names.test(name)) tensors.set(name, tensor)
  }
const both =
  (...edits: readonly Edit[]): Edit =>
  (tensors, other) => {
    for (const edit of edits) edit(tensors, other)
  }

interface Case {
  /** Folders of the model and of its other side. */
  readonly sides: readonly [own: string, other: string]
  readonly edit: Edit
  readonly says: RegExp
  /** Without a configuration nothing shows it. */
  readonly configured?: true
}

const QWEN = ['qwen3_moe/released', 'qwen3_moe/v5'] as const
const FUSED = [QWEN[1], QWEN[0]] as const
const EXPERTS = /mlp\.experts/
const complete = (rest: string): RegExp => new RegExp(`error layout-misfit: \\w+ is not complete: ${rest}`)

const REFUSED: Readonly<Record<string, Case>> = {
  'experts in one tensor and one by one': {
    ...{ sides: QWEN, edit: withOthers(EXPERTS) },
    says: /error layout-misfit: a part of \w+ is there twice: model\.layers\.\d\.mlp\.experts\.gate_up_proj and model\.layers\.\d\.mlp\.experts\.0\.gate_proj\.weight and 5 more tensors, and so are/,
  },
  'the same in one layer': {
    ...{ sides: FUSED, edit: withOthers(/layers\.1\.mlp\.experts\.0\.down/) },
    says: /is there twice: model\.layers\.1\.mlp\.experts\.down_proj and model\.layers\.1\.mlp\.experts\.0\.down_proj\.weight\n/,
  },
  'an expert in the middle is missing': {
    ...{ sides: QWEN, edit: without(/layers\.1\.mlp\.experts\.1\./) },
    says: complete(
      'model\\.layers\\.1\\.mlp\\.experts\\.1\\.gate_proj\\.weight is missing: (there is \\S+experts\\.2\\.|the configuration has 3 experts)',
    ),
  },
  'the last expert of a layer is missing': {
    ...{ sides: QWEN, edit: without(/layers\.1\.mlp\.experts\.2\./) },
    says: complete(
      'model\\.layers\\.1\\.mlp\\.experts\\.2\\.gate_proj\\.weight is missing: (there is \\S+experts\\.2\\.|the configuration has 3 experts)',
    ),
  },
  'the last expert of all layers is missing': {
    ...{ sides: QWEN, edit: without(/mlp\.experts\.2\./), configured: true },
    says: complete('\\S+experts\\.2\\.gate_proj\\.weight is missing: the configuration has 3 experts'),
  },
  'one gate is missing': {
    ...{ sides: QWEN, edit: without(/layers\.0\.mlp\.experts\.2\.gate_proj/) },
    says: complete('model\\.layers\\.0\\.mlp\\.experts\\.2\\.gate_proj\\.weight is missing'),
  },
  'all matrices of one kind are missing in a layer': {
    ...{ sides: QWEN, edit: without(/layers\.0\.mlp\.experts\.\d\.down_proj/) },
    says: complete('model\\.layers\\.0\\.mlp\\.experts\\.0\\.down_proj\\.weight is missing: another layer has it'),
  },
  'one of the tensors of all experts is missing in a layer': {
    ...{ sides: FUSED, edit: without(/layers\.0\.mlp\.experts\.down_proj/) },
    says: complete('model\\.layers\\.0\\.mlp\\.experts\\.down_proj is missing: another layer has it'),
  },
  'experts that the configuration does not have': {
    ...{ sides: QWEN, configured: true },
    edit: (tensors) => {
      for (const [name, tensor] of [...tensors])
        if (/mlp\.experts\.2\./.test(name)) copy(tensors, tensor, name.replace('experts.2', 'experts.3'))
    },
    says: complete('\\S+experts\\.3\\.gate_proj\\.weight is one too many: the configuration has 3 experts'),
  },
  'a number with a leading zero next to the one without': {
    sides: QWEN,
    edit: (tensors) => {
      for (const [name, tensor] of [...tensors])
        if (/layers\.0\.mlp\.experts\.1\./.test(name)) copy(tensors, tensor, name.replace('experts.1', 'experts.01'))
    },
    says: complete('\\S+experts\\.01\\.gate_proj\\.weight has the number 01, which should be 1'),
  },
  'a number with a leading zero': {
    ...{ sides: QWEN, edit: renamed(/(layers\.0\.mlp\.experts)\.1\./, '$1.01.') },
    says: complete('\\S+experts\\.01\\.gate_proj\\.weight has the number 01, which should be 1'),
  },
  'layers with experts in one tensor and layers with single ones': {
    ...{ sides: QWEN, edit: both(without(/layers\.0\.mlp\.experts/), withOthers(/layers\.0\.mlp\.experts/)) },
    says: /error layout-misfit: layers of \w+ have different layouts: \S+experts\.gate_up_proj is one tensor, and \S+experts\.0\.gate_proj\.weight is one of several.*\n.*\n.*\n.*hint: .*layout: qwen2-moe\/mixed/,
  },
  'gate and up in one tensor, and single ones for down': {
    ...{ sides: QWEN, edit: both(without(/experts\.\d\.(gate|up)/), withOthers(/experts\.gate_up/)) },
    says: /layers of \w+ have different layouts/,
  },
  'a stack with fewer places': {
    sides: FUSED,
    edit: (tensors) => {
      const name = 'model.layers.1.mlp.experts.down_proj'
      const { shape, view, ...tensor } = tensors.get(name)!
      const of = { kind: 'slice', of: view, axis: 0, start: 0, count: 2 } as const
      tensors.set(name, { ...tensor, shape: [2, ...shape.slice(1)], view: of })
    },
    says: complete('\\S+experts\\.down_proj is a stack of 2 tensors, but .* has 3'),
  },
  'a bias of one expert is missing': {
    sides: ['gpt_oss_experts/parts', 'gpt_oss_experts/fused'],
    edit: without(/layers\.0\.mlp\.experts\.1\.up_proj\.bias/),
    says: complete('model\\.layers\\.0\\.mlp\\.experts\\.1\\.up_proj\\.bias is missing'),
  },
  'queries, keys and values in one tensor and apart': {
    sides: ['phi3/parts', 'phi3/fused'],
    edit: withOthers(/layers\.1\.self_attn\.qkv_proj/),
    says: /a part of \w+ is there twice: model\.layers\.1\.self_attn\.qkv_proj\.weight and model\.layers\.1\.self_attn\.q_proj\.weight and 2 more tensors/,
  },
}

for (const [what, { sides, edit, says, configured }] of Object.entries(REFUSED))
  test(`refused: ${what}`, async () => {
    const [own, other] = await Promise.all(sides.map(modelOf))
    const found = edited(own!.config ? own! : { ...own!, config: other!.config! }, (tensors) => edit(tensors, other!))
    for (const like of [own!, other!, found]) {
      assert.match(laid({ base: found, own: like }, MERGE).said.join('\n'), says, 'as base')
      if (like !== found) assert.match(laid({ base: like, own: found }, MERGE).said.join('\n'), says, 'as model')
    }
    if (sides.includes('qwen3_moe/v5')) assert.match(laid({ base: found }, CONVERT).said.join('\n'), says)
    const said = laid({ base: bare(found), own: bare(own!) }, MERGE).said.join('\n')
    if (configured) assert.not.match(said, says)
    else assert.match(said, says, 'without a configuration')
  })

test('the layout that the recipe names decides where a part is there twice', async () => {
  const [own, other] = await Promise.all(QWEN.map(modelOf))
  const twice = edited(own!, (tensors) => withOthers(EXPERTS)(tensors, other!))
  for (const [layout, wanted] of [
    ['qwen2-moe/released', own!],
    ['transformers-5', other!],
  ] as const) {
    const { said, models } = laid({ base: twice, own: own! }, MERGE, { base: layout })
    assert.equal([...models.checkpoints.get('base')!.tensors.keys()].sort(), [...wanted.tensors.keys()].sort())
    assert.match(
      said[0]!,
      /warning dropped-tensors: base has parts of the network twice: terge uses those of qwen2-moe/,
    )
    assert.is(said.filter((one) => one.includes('error')).length, 0, said.join('\n'))
  }
})

test('layers of several layouts are read where the recipe says so, and an output has one layout', async () => {
  const [own, other] = await Promise.all(QWEN.map(modelOf))
  const names = /layers\.0\.mlp\.experts/
  const mixed = edited(own!, (tensors) => both(without(names), withOthers(names))(tensors, other!))
  const { said, models } = laid({ base: own!, own: mixed }, MERGE, { own: 'qwen2-moe/mixed' })
  assert.equal(said, [])
  assert.equal([...models.checkpoints.get('own')!.tensors.keys()].sort(), [...own!.tensors.keys()].sort())
  assert.match(
    laid({ base: own!, own: own! }, MERGE, { own: 'qwen2-moe/mixed' }).said.join('\n'),
    /layout-misfit: own has the layout qwen2-moe\/released, not qwen2-moe\/mixed/,
  )
  const text = `terge: 1\nmodels: {base: base}\n${CONVERT.replace('transformers-5', 'mixed')}\n`
  assert.equal(
    loadRecipe('r.yml', { text }).diagnostics.map(({ code }) => code),
    ['unknown-layout'],
  )
})

test('not refused: dense layers, prefixes with their own layout, other counts in the configuration, networks that terge does not know', async () => {
  const [own, other] = await Promise.all(QWEN.map(modelOf))
  const [deepseek] = await Promise.all(['deepseek_v3/released', 'deepseek_v3/v5'].map(modelOf))
  const read = (base: Checkpoint, model = base) =>
    laid({ base, own: model }, MERGE).said.filter((one) => one.includes('error'))
  assert.equal(read(deepseek!), [])
  const mtp = edited(other!, (tensors) => {
    for (const [name, tensor] of own!.tensors)
      if (/layers\.0\./.test(name)) copy(tensors, tensor, name.replace('model.', 'mtp.'))
  })
  assert.equal(read(mtp), [])
  assert.equal(read(edited(own!, (tensors) => without(/layers\.0\.mlp\./)(tensors, other!))), [])
  // One of several numbers of experts is right.
  assert.equal(read({ ...own!, config: { ...own!.config, num_local_experts: 16, num_experts: 3 } }), [])
  const unknown = (edit: Edit): Checkpoint => ({
    ...edited(own!, (tensors) => edit(tensors, other!)),
    config: { model_type: 'mine' },
  })
  assert.equal(read(unknown(without(/layers\.1\.mlp\.experts\.1\./))), [])
  assert.match(read(unknown(withOthers(EXPERTS)))[0]!, /is there twice/)
})

test.run()
