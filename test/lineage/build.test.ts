import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { buildLineage } from '../../src/lineage/build.js'
import { fileDigest, wholeDigest } from '../../src/lineage/fileDigest.js'
import type { LineageSource } from '../../src/lineage/types.js'
import { bytesDigest, digestOf, input, plan, sample } from './sample.js'

test('weights are the effective weights of the models', () => {
  const { method, parameters, sources } = sample.tensors['layers.0.weight']!
  assert.is(method, 'linear')
  assert.equal(parameters, { normalize: true })
  assert.equal(
    sources.map(({ model, weight }) => [model, weight]),
    [
      ['soup', 0.5],
      ['c', 0.5],
    ],
  )
})

test('a fused step describes how its tensor was made, down to a file', () => {
  const [soup, c] = sample.tensors['layers.0.weight']!.sources
  assert.equal(soup!.of, {
    method: 'linear',
    parameters: { normalize: true },
    sources: [
      { model: 'b', tensor: 'layers.0.weight', weight: 0.75 },
      { model: 'a', tensor: 'layers.0.weight', weight: 0.25 },
    ],
  })
  assert.is(c!.of, undefined)
})

test('a step that only copies a tensor names its source', () => {
  const [soup, c] = sample.tensors['layers.1.weight']!.sources
  assert.equal(soup, {
    model: 'soup',
    tensor: 'layers.1.weight',
    weight: 0.25,
    of: { method: 'copy', parameters: {}, sources: [{ model: 'a', tensor: 'layers.1.weight', weight: null }] },
  })
  assert.equal(c, { model: 'c', tensor: 'renamed', weight: 0.75 })
  assert.equal(sample.tensors['layers.1.weight']!.absent, [{ model: 'b', reason: 'shape' }])
})

test('task vectors name their base, also if it is a step', () => {
  const { base, sources } = sample.tensors.task!
  assert.is(base!.model, 'soup')
  assert.is(base!.weight, null)
  assert.equal(
    base!.of!.sources.map(({ model, weight }) => [model, weight]),
    [
      ['b', 0.5],
      ['a', 0.5],
    ],
  )
  assert.equal(sources, [{ model: 'c', tensor: 'task', weight: 0.5 }])
})

test('copies have a reason and a source, with any names', () => {
  const copied = new Map(Object.entries(sample.tensors)).get('__proto__')!
  assert.is(copied.method, 'copy')
  assert.is(copied.reason, 'excluded')
  assert.equal(copied.sources, [{ model: 'a', tensor: '__proto__', weight: null }])
  const merged = sample.tensors['10']!
  assert.is(merged.method, 'copy')
  assert.is(merged.sources[0]!.model, 'soup')
  assert.is(merged.sources[0]!.of!.method, 'linear')
})

test('every source leads to a model of the report', () => {
  const follow = (source: LineageSource): void => {
    if (source.of) {
      assert.ok(Object.hasOwn(sample.models, source.model) || Object.hasOwn(sample.steps, source.model))
      source.of.sources.forEach(follow)
    } else assert.ok(Object.hasOwn(sample.models, source.model), source.model)
  }
  for (const { sources, base } of Object.values(sample.tensors)) [...sources, ...(base ? [base] : [])].forEach(follow)
})

test('models are numbered as in the recipe, and only steps that lead to the output are listed', () => {
  assert.equal(
    Object.entries(sample.models).map(([name, { index }]) => [name, index]),
    [
      ['a', 2],
      ['b', 3],
      ['c', 1],
    ],
  )
  assert.equal(Object.keys(sample.steps), ['soup', 'final'])
  assert.equal(sample.steps.final, {
    kind: 'merge',
    patterns: [{ pattern: 'task', where: 'rule', rule: 0, matches: 1, applies: 1 }],
    base: 'soup',
    method: 'linear',
    models: ['soup', 'c'],
  })
})

test('a single output file has the name of the output', () => {
  assert.equal(
    sample.output.files.map(({ name }) => name),
    ['merged.safetensors'],
  )
  const folder = { ...plan, outputs: [{ ...plan.outputs[0]!, layout: 'folder' as const }] }
  assert.is(buildLineage({ ...input, plan: folder }).output.files[0]!.name, 'model.safetensors')
})

test('other files of the output are listed and part of its digest', () => {
  const others = [{ name: 'config.json', size: 3, digest: digestOf('config') }]
  const { output } = buildLineage({ ...input, made: { ...input.made, others } })
  assert.equal(output.files.at(-1), others[0])
  assert.is.not(output.digest, sample.output.digest)
  assert.is(output.digest, digestOf(`${digestOf('out')}\n${digestOf('config')}\n`))
})

test('a run without digests leaves null, also for the whole', () => {
  const made = { files: [null], records: plan.outputs[0]!.tensors.map(() => ({ outputs: [null], figures: {} })) }
  const { output, tensors, models } = buildLineage({ ...input, made, read: { files: [null, null, null] } })
  assert.is(output.digest, null)
  assert.is(output.files[0]!.digest, null)
  assert.is(tensors.task!.digest, null)
  assert.is(models.a!.files[0]!.digest, null)
})

test('a file’s digest follows from its header’s and its tensors’, in order', () => {
  assert.is(fileDigest('h:00', ['a:11', 'b:22'], bytesDigest), digestOf('h:00\na:11\nb:22\n'))
  assert.is(fileDigest('h:00', [], bytesDigest), digestOf('h:00\n'))
  assert.is(fileDigest('h:00', ['a:11', null], bytesDigest), null)
  assert.is.not(fileDigest('h:00', ['a:11', 'b:22'], bytesDigest), fileDigest('h:00', ['b:22', 'a:11'], bytesDigest))
  assert.is(wholeDigest(['a:11'], bytesDigest), digestOf('a:11\n'))
})

test.run()
