/** Experts that are not whole, models that nothing says the layout of, and names of layouts that are several families'. */
import { cpSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { inFolder, type RawTensor, safetensors } from '../support/files.js'
import { opened, readTensors, sameTensors } from '../support/layouts.js'
import { fixture, terge } from '../support/terge.js'

type Stored = Readonly<Record<string, RawTensor>>
type Edit = (own: Stored, base: Stored) => Stored

const sideOf = (name: string): string => path.join(fixture('layouts'), name)

async function tensorsOf(file: string): Promise<Stored> {
  const model = await opened(file)
  return readTensors(model, model.tensors)
}

const where = (tensors: Stored, keep: (name: string) => boolean): Stored =>
  Object.fromEntries(Object.entries(tensors).filter(([name]) => keep(name)))

const without =
  (names: RegExp): Edit =>
  (own) =>
    where(own, (name) => !names.test(name))

/** The experts of the first layer as the base has them. */
const mixed: Edit = (own, base) => ({
  ...where(own, (name) => !/layers\.0\.mlp\.experts/.test(name)),
  ...where(base, (name) => /layers\.0\.mlp\.experts/.test(name)),
})

interface Case {
  readonly own: string
  readonly base: string
  readonly edit?: Edit
  /** Where it is, the models are files without a configuration. */
  readonly layouts?: { readonly own?: string; readonly base?: string }
  readonly bare?: boolean
}

/** Runs a merge of a model with a base, both in the folder. */
async function merged(folder: string, { own, base, edit = (as) => as, layouts = {}, bare = false }: Case) {
  const [model, other] = await Promise.all([own, base].map((side) => tensorsOf(sideOf(side))))
  const models: string[] = []
  for (const [name, side, tensors] of [
    ['base', base, other!],
    ['own', own, edit(model!, other!)],
  ] as const) {
    mkdirSync(path.join(folder, name))
    writeFileSync(path.join(folder, name, 'model.safetensors'), safetensors(tensors))
    const config = path.join(sideOf(side), 'config.json')
    if (!bare && existsSync(config)) cpSync(config, path.join(folder, name, 'config.json'))
    const layout = layouts[name]
    models.push(`${name}: {path: ${name}${bare ? '/model.safetensors' : ''}${layout ? `, layout: ${layout}` : ''}}`)
  }
  const out = bare ? 'out.safetensors' : 'out'
  const recipe = `terge: 1\nmodels: {${models.join(', ')}}\nmerge: {method: linear, models: [base, own]}\noutput: ${out}\n`
  writeFileSync(path.join(folder, 'recipe.yaml'), recipe)
  const { code, err } = await terge(['run', 'recipe.yaml'], folder)
  return { code, err, out: path.join(folder, out) }
}

const REFUSED: Readonly<Record<string, readonly [says: RegExp, of: Case]>> = {
  'an expert in the middle is missing': [
    /layout-misfit: own is not complete: model\S+ is missing: the configuration has 3 experts/,
    { own: 'mixtral/released', base: 'mixtral/v5', edit: without(/layers\.1\.block_sparse_moe\.experts\.1\./) },
  ],
  'an odd number of rows of gate and up': [
    /layout-misfit: .*with the names of qwen2-moe\/transformers-5, but not with its shapes/,
    {
      own: 'qwen3_moe/v5',
      base: 'qwen3_moe/released',
      edit: (own) => {
        const name = 'model.layers.1.mlp.experts.gate_up_proj'
        const { dtype, shape, bytes } = own[name]!
        const [experts, rows, width] = shape as [number, number, number]
        const place = bytes.length / experts
        const kept = (place / rows) * (rows - 1)
        const cut = Array.from({ length: experts }, (_, at) => bytes.slice(at * place, at * place + kept))
        return {
          ...own,
          [name]: { dtype, shape: [experts, rows - 1, width], bytes: new Uint8Array(Buffer.concat(cut)) },
        }
      },
    },
  ],
  'layers of two orientations': [
    /layout-misfit: .*layers of several layouts, and their names do not show which/,
    { own: 'qwen3_vl_moe/released', base: 'qwen3_vl_moe/v5', edit: mixed },
  ],
  'layers of one orientation, and experts one by one': [
    /layout-misfit: .*layers of several layouts, and their names do not show which/,
    {
      ...{ own: 'qwen3_vl_moe/parts', base: 'qwen3_vl_moe/v5', edit: mixed },
      layouts: { own: 'qwen3-vl-moe/mixed' },
    },
  ],
  'gpt-oss without a configuration: halves or in turn': [
    /layout-unclear: .*gpt-oss\/fused and gpt-oss\/parts do, or as qwen3-vl-moe\/released and qwen3-vl-moe\/parts/,
    { own: 'gpt_oss_experts/fused', base: 'gpt_oss_experts/parts', bare: true },
  ],
  'Llama 4 without a configuration': [
    /layout-unclear: .*llama4\/fused and llama4\/parts/,
    { own: 'llama4_experts/fused', base: 'llama4_experts/parts', bare: true },
  ],
  'rows without a configuration: the common family is named': [
    /layout-unclear: .*differ as the layouts qwen2-moe\/released and qwen2-moe\/transformers-5 do/,
    { own: 'qwen3_moe/released', base: 'qwen3_moe/v5', bare: true },
  ],
  'other names of several modules without a configuration': [
    /layout-unclear: .*differ as the layouts qwen2-vl\/released and qwen2-vl\/transformers-5 do/,
    { own: 'qwen2_5_vl/released', base: 'qwen2_5_vl/v5', bare: true },
  ],
  'the recipe says halves, and the configuration in turn': [
    /contradiction: the configuration of 'own' says that its layout is gpt-oss\/fused/,
    { own: 'gpt_oss_experts/fused', base: 'gpt_oss_experts/parts', layouts: { own: 'qwen3-vl-moe/released' } },
  ],
}

for (const [what, [says, of]] of Object.entries(REFUSED))
  test(`refused: ${what}`, () =>
    inFolder(async (folder) => {
      const { code, err } = await merged(folder, of)
      assert.is(code, 2)
      assert.match(err, says)
    }))

const READ: Readonly<Record<string, Case>> = {
  'layers with fused experts and layers with single ones, if the recipe says so': {
    ...{ own: 'qwen3_moe/released', base: 'qwen3_moe/v5', edit: mixed },
    layouts: { own: 'qwen2-moe/mixed' },
  },
  'a language model alone, whose names differ by a prefix': {
    ...{ own: 'qwen2_5_vl/released', base: 'qwen2_5_vl/v5', bare: true },
    edit: without(/^visual/),
  },
  'gpt-oss without a configuration, by its name': {
    ...{ own: 'gpt_oss_experts/fused', base: 'gpt_oss_experts/parts', bare: true },
    layouts: { own: 'gpt-oss/fused', base: 'gpt-oss/parts' },
  },
  'a configuration of the base alone, and a model type for a name': {
    ...{ own: 'qwen3_moe/released', base: 'qwen3_moe/v5' },
    layouts: { own: 'qwen3_moe/released' },
  },
}

for (const [what, of] of Object.entries(READ))
  test(`read: ${what}`, () =>
    inFolder(async (folder) => {
      const { code, err, out } = await merged(folder, of)
      assert.is(code, 0, err)
      sameTensors(await tensorsOf(out), await tensorsOf(sideOf(of.base)), what)
    }))

test('rules of a recipe: gate and up in turn', () =>
  inFolder(async (folder) => {
    const experts = 'model.layers.{n}.mlp.experts'
    const at = (matrix: string) => `"${experts}.{e}.${matrix}"`
    const both = (end: string) => `concat: [${at(`gate_proj.${end}`)}, ${at(`up_proj.${end}`)}], groups: in turn`
    const rules = [
      `{tensor: "${experts}.gate_up_proj", stack: {transpose: {${both('weight')}}}}`,
      `{tensor: "${experts}.gate_up_proj_bias", stack: {${both('bias')}}}`,
      `{tensor: "${experts}.down_proj", stack: {transpose: ${at('down_proj.weight')}}}`,
      `{tensor: "${experts}.down_proj_bias", stack: ${at('down_proj.bias')}}`,
    ]
    const base = 'gpt_oss_experts/parts'
    const layouts = { own: `[${rules.join(', ')}]` }
    const { code, err, out } = await merged(folder, { own: 'gpt_oss_experts/fused', base, layouts, bare: true })
    assert.is(code, 0, err)
    sameTensors(await tensorsOf(out), await tensorsOf(sideOf(base)), 'in turn')
  }))

test('a form alone is that of every family that a model has', () =>
  inFolder(async (folder) => {
    const side = sideOf('gemma3_hub/released')
    for (const [layout, names] of [
      ['transformers-5', /^model\.(language_model|multi_modal_projector|vision_tower\.(?!vision_model))/],
      ['gemma3/transformers-5', /^model\.(language_model|multi_modal_projector|vision_tower\.vision_model)/],
    ] as const) {
      const out = layout.replace('/', '-')
      const recipe = `terge: 1\nmodels: {a: ${side}, b: ${side}}\nmerge: {method: linear, models: [a, b]}\noutput: {path: ${out}, layout: ${layout}}\n`
      writeFileSync(path.join(folder, 'recipe.yaml'), recipe)
      const { code, err } = await terge(['run', 'recipe.yaml'], folder)
      assert.is(code, 0, err)
      const made = await tensorsOf(path.join(folder, out))
      for (const name of Object.keys(made)) assert.match(name, names)
      if (layout === 'transformers-5') sameTensors(made, await tensorsOf(sideOf('gemma3_hub/v5')), layout)
    }
  }))

test.run()
