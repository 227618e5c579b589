/** Specs of real models of transformers, by names, shapes and settings. bench/families shows that they keep the function. */
import { readFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { inferSpec } from '../../src/rebasin/infer/index.js'
import { writeSpec } from '../../src/rebasin/spec.js'

interface Model {
  readonly tensors: Readonly<Record<string, readonly number[]>>
  readonly config?: Readonly<Record<string, unknown>>
}

const read = (name: string) =>
  JSON.parse(readFileSync(new URL(`../../../test/fixtures/transformers/${name}`, import.meta.url), 'utf8'))
const models = read('models.json') as Readonly<Record<string, Model>>
const specs = read('specs.json') as Readonly<Record<string, unknown>>

const inferred = ({ tensors, config }: Model) => {
  const shapes = new Map(Object.entries(tensors).map(([name, shape]) => [name, { dtype: 'F32', shape }]))
  const { family, spec } = inferSpec({ tensors: shapes, ...(config ? { config } : {}) })
  return JSON.parse(JSON.stringify({ family, ...writeSpec(spec, shapes) })) as {
    readonly family: string
    readonly groups: Readonly<Record<string, unknown>>
    readonly kept: Readonly<Record<string, string>>
  }
}

for (const [name, model] of Object.entries(models))
  test(`the spec of ${name}`, () => {
    assert.equal(inferred(model), specs[name])
  })

test('a tensor that the architecture does not have keeps the stream', () => {
  const { config, tensors } = models.qwen3!
  const spec = inferred({ ...(config ? { config } : {}), tensors: { ...tensors, 'model.adapter.weight': [16, 16] } })
  assert.match(spec.kept.hidden!, /no tensor model\.adapter\.weight/)
  assert.not(Object.hasOwn(spec.groups, 'hidden'))
})

test('experts stay if their layer has a tensor that the architecture does not have, or a router with another name', () => {
  const { config, tensors } = models['qwen2-moe']!
  const settings = config ? { config } : {}
  const biased = inferred({ ...settings, tensors: { ...tensors, 'model.layers.0.mlp.expert_bias': [4] } })
  assert.not(Object.hasOwn(biased.groups, 'layers.0.experts'))
  assert.ok(Object.hasOwn(biased.groups, 'layers.1.experts'))
  const renamed = Object.entries(tensors).map(([name, shape]) => [
    name.replace('mlp.gate.weight', 'mlp.gate.wg.weight'),
    shape,
  ])
  const routed = inferred({ ...settings, tensors: Object.fromEntries(renamed) })
  assert.not(Object.keys(routed.groups).some((group) => group.endsWith('.experts')))
})

test('heads stay if the configuration does not fit the shapes', () => {
  const { config, tensors } = models.bart!
  const spec = inferred({ tensors, config: { ...config, encoder_attention_heads: 5 } })
  assert.match(spec.kept['encoder.layers.0.kv']!, /5 heads of 3\.2 places do not fit/)
  assert.ok(Object.hasOwn(spec.groups, 'decoder.layers.0.kv'))
})

test.run()
