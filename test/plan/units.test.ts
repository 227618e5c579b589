/** Keys of planned tensors: they follow how a tensor is made and from which stored names, and nothing else. */

import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { plannedTensors } from '../../src/index.js'
import { METHODS } from '../../src/methods/registry.js'
import type { PassInput, TensorSettings } from '../../src/methods/types.js'
import { planUnits } from '../../src/plan/units.js'
import { openRecipe, plan, planOpened } from '../../src/session/plan.js'
import { f32, inFolder, numbers, type RawTensor, safetensors, writeModel } from '../support/files.js'

const layers = (seed: number, prefix = ''): Record<string, RawTensor> =>
  Object.fromEntries([
    ...[0, 1, 2].map((layer) => [`${prefix}layers.${layer}.weight`, f32([4, 6], numbers(24, seed + layer))]),
    [`${prefix}head.weight`, f32([6], numbers(6, seed + 99))],
  ])

/** A sharded checkpoint, one tensor a file. */
function writeShards(folder: string, tensors: Readonly<Record<string, RawTensor>>): void {
  mkdirSync(folder)
  const names = Object.keys(tensors)
  const fileOf = (at: number) =>
    `model-${String(at + 1).padStart(5, '0')}-of-${String(names.length).padStart(5, '0')}.safetensors`
  for (const [at, name] of names.entries())
    writeFileSync(path.join(folder, fileOf(at)), safetensors({ [name]: tensors[name]! }))
  const map = Object.fromEntries(names.map((name, at) => [name, fileOf(at)]))
  writeFileSync(path.join(folder, 'model.safetensors.index.json'), JSON.stringify({ metadata: {}, weight_map: map }))
}

/** Keys by tensor of the first output. */
async function keysOf(folder: string, text: string): Promise<Map<string, string>> {
  const file = path.join(folder, 'r.yml')
  const { plan: made } = await plan(file, { text })
  return new Map([...plannedTensors(made)].filter(({ output }) => output === 0).map(({ name, key }) => [name, key]))
}

function prepare(folder: string): void {
  for (const [index, name] of ['a', 'b', 'c'].entries())
    writeModel(path.join(folder, `${name}.safetensors`), layers(10 * index))
  writeModel(path.join(folder, 'other.safetensors'), layers(10))
  writeModel(path.join(folder, 'renamed.safetensors'), layers(10, 'model.'))
  writeShards(path.join(folder, 'sharded'), layers(10))
}

const recipe = (
  merge: string,
  models = '{a: a.safetensors, b: b.safetensors, c: c.safetensors}',
  output = 'out.safetensors',
) => `terge: 1\nmodels: ${models}\nmerge: {base: a, ${merge}}\noutput: ${output}\n`

test('a key does not depend on names, paths, files, shards and outputs', () =>
  inFolder(async (folder) => {
    prepare(folder)
    const task = 'method: task_arithmetic, models: [b, c], weights: [0.5, 1]'
    const keys = await keysOf(folder, recipe(task))
    assert.is(new Set(keys.values()).size, keys.size, 'tensors of other names have other keys')
    const same = [
      recipe(task, '{c: c.safetensors, b: other.safetensors, a: a.safetensors}'),
      recipe(task, '{a: a.safetensors, b: sharded, c: c.safetensors}'),
      recipe(task, undefined, '{path: elsewhere, shard_size: 1KB}'),
      recipe(task)
        .replace('{base: a', '{base: first')
        .replace('[b, c]', '[second, third]')
        .replace('{a:', '{first:')
        .replace('b:', 'second:')
        .replace('c: c.', 'third: c.'),
      `${recipe(task)
        .replace('merge: {', 'steps: {m: {merge: {')
        .replace(/\}\noutput.*/, '}}}')}outputs: [{from: m, path: x.safetensors}, {from: b, path: y.safetensors}]\n`,
      recipe(`${task}, rules: [{match: head.*, method: linear}]`),
    ]
    for (const [index, text] of same.entries()) {
      const found = await keysOf(folder, text)
      for (const [name, key] of keys) {
        const ruled = text.includes('rules') && name.startsWith('head')
        assert.is(found.get(name) === key, !ruled, `${index} ${name}`)
      }
    }
  }))

test('everything that changes values changes the key', () =>
  inFolder(async (folder) => {
    prepare(folder)
    const task = 'method: task_arithmetic, models: [b, c], weights: [0.5, 1]'
    const texts = [
      recipe(task),
      recipe(task.replace('0.5', '0.25')),
      recipe(`${task}, parameters: {lambda: 0.5}`),
      recipe(task.replace('task_arithmetic', 'ties')),
      recipe(task.replace('[b, c]', '[b]').replace('[0.5, 1]', '[0.5]')),
      recipe(task).replace('base: a', 'base: b'),
      recipe(task, undefined, '{path: out.safetensors, dtype: bfloat16}'),
      recipe(task).replace('terge: 1', 'terge: 1\ncompute: float64'),
      recipe(task.replace('task_arithmetic', 'dare_linear')),
      recipe(task.replace('task_arithmetic', 'dare_linear')).replace('terge: 1', 'terge: 1\nseed: 5'),
      recipe(task, "{a: a.safetensors, b: {path: renamed.safetensors, strip_prefix: 'model.'}, c: c.safetensors}"),
    ]
    const found = await Promise.all(texts.map((text) => keysOf(folder, text)))
    for (const name of found[0]!.keys()) {
      const keys = found.map((each) => each.get(name))
      // With base b the models are [b, c]: nothing but which tensor stands where is another.
      assert.is(new Set(keys).size, texts.length, `${name}: ${keys.map((key) => keys.indexOf(key))}`)
    }
    const seeded = (seed: number) => keysOf(folder, recipe(task).replace('terge: 1', `terge: 1\nseed: ${seed}`))
    assert.equal(await seeded(5), await seeded(6), 'a method that draws nothing knows no seed')
  }))

test('plans of the same open models are compared without opening them again', () =>
  inFolder(async (folder) => {
    prepare(folder)
    const opened = await openRecipe(path.join(folder, 'r.yml'), { text: recipe('method: linear, models: [a, b, c]') })
    const [one, again] = [await planOpened(opened), await planOpened(opened)]
    assert.equal([...plannedTensors(one.plan)], [...plannedTensors(again.plan)])
    assert.equal([...plannedTensors(one.plan)][0]!.reads, [
      { model: 'a', file: 'a.safetensors', tensor: 'head.weight' },
      { model: 'b', file: 'b.safetensors', tensor: 'head.weight' },
      { model: 'c', file: 'c.safetensors', tensor: 'head.weight' },
    ])
  }))

test('scopes, alignments and factorings that a tensor needs are part of its key', () =>
  inFolder(async (folder) => {
    prepare(folder)
    const scoped = await keysOf(folder, recipe('method: metagpt, models: [b, c]'))
    const fewer = await keysOf(folder, recipe('method: metagpt, models: [b, c], filters: {exclude: [layers.2.*]}'))
    assert.is.not(
      scoped.get('layers.0.weight'),
      fewer.get('layers.0.weight'),
      'another tensor of its scope is left out',
    )
    const extract = (more: string) =>
      `terge: 1\nmodels: {a: a.safetensors, b: b.safetensors}\nsteps: {e: {extract: {lora: {from: b, base: a, rank: 2${more}}}}}\noutput: {from: e, path: out}\n`
    const { plan: made } = await plan(path.join(folder, 'r.yml'), { text: extract('') })
    const units = planUnits(made)
    const [first] = [...units.tensors()]
    assert.equal([first!.reads, first!.needs], [[], [{ kind: 'factoring', index: 0 }]])
    assert.is(units.unit(first!.needs[0]!).reads.length, 2)
    const exact = await keysOf(folder, extract(', method: randomised'))
    for (const [name, key] of await keysOf(folder, extract(''))) assert.is.not(exact.get(name), key)
  }))

test('a permutation spec may use any word for a tensor or a group: all of them are part of the key', () =>
  inFolder(async (folder) => {
    for (const word of ['left', 'steps', 'name', 'tensors', 'models', 'expr', 'shape', 'plain']) {
      const model = (seed: number): Record<string, RawTensor> =>
        Object.fromEntries([word, 'in', 'out'].map((name, at) => [name, f32([6, 6], numbers(36, seed + at))]))
      writeModel(path.join(folder, 'a.safetensors'), model(1))
      writeModel(path.join(folder, 'b.safetensors'), model(2))
      const keys = async (group: string, axes: string) =>
        await keysOf(
          folder,
          `terge: 1\nmodels: {a: a.safetensors, b: b.safetensors}\nsteps:\n  al:\n    rebasin:\n      model: b\n      onto: a\n      spec: {groups: {${group}}, tensors: {${word}: ${axes}, in: ${axes}, out: ${axes}}}\noutput: {from: al, path: out.safetensors}\n`,
        )
      const first = await keys(`${word}: 6`, `[${word}]`)
      const others = [
        await keys(`${word}: 6`, `[null, ${word}]`),
        await keys(`${word}: 3`, `[${word}*2]`),
        await keys(`${word}: 6, second: 6`, '[second]'),
      ]
      for (const other of others)
        for (const [name, key] of first) assert.is.not(other.get(name), key, `${word}: ${name}`)
    }
    // All that a tensor of a plan has, as names of a spec.
    const names = ['name', 'dtype', 'shape', 'expr']
    for (const [index, model] of ['a', 'b'].entries())
      writeModel(
        path.join(folder, `${model}.safetensors`),
        Object.fromEntries(names.map((name, at) => [name, f32([6, 6], numbers(36, 10 * index + at))])),
      )
    const spec = `{tensors: {${names.map((name) => `${name}: [h]`).join(', ')}}}`
    const text = `terge: 1\nmodels: {a: a.safetensors, b: b.safetensors}\nrebasin: {model: b, onto: a, spec: ${spec}}\nmerge: {method: linear}\noutput: out.safetensors\n`
    assert.is((await keysOf(folder, text)).size, names.length)
  }))

test('every method that uses the seed declares that it is random', () => {
  for (const { name, passes, random, parameters, base } of METHODS) {
    let seen = false
    const settings: TensorSettings = {
      tensor: 'w',
      shape: [4, 4],
      models: ['x', 'y'],
      weights: [1, 1],
      parameters: Object.fromEntries(
        parameters.map(({ name, default: value = 0.5 }) => [
          name,
          name === 'rescale' ? 'l1' : name === 'density' ? 0.5 : value,
        ]),
      ),
      get seed() {
        seen = true
        return 0
      },
      onBase: base !== 'none',
      statistics: true,
    }
    const { map, reduces } = passes(settings)
    const results = reduces.map(({ slots }) => new Float64Array(slots).fill(1))
    // It stands on the settings, since a copy of them would look at the seed.
    const input: PassInput = Object.assign(Object.create(settings), { results, scope: [], math: Math })
    for (const { coefficients } of [...reduces, map])
      try {
        coefficients?.(input)
      } catch {
        // These are results of no real tensor.
      }
    assert.is(seen, random === true, name)
  }
})

test('a zero of a recipe has no sign, since keys and digests do not show it', () =>
  inFolder(async (folder) => {
    prepare(folder)
    const ties = (lambda: string) =>
      recipe(`method: ties, models: [b], weights: [-0.0], parameters: {lambda: ${lambda}}`)
    const merges = await Promise.all(
      ['0', '-0.0'].map(async (lambda) => {
        const { plan: made } = await plan(path.join(folder, 'r.yml'), { text: ties(lambda) })
        const { expr } = made.outputs[0]!.tensors[0]!
        return expr.kind === 'merge' ? [expr.parameters.lambda, ...expr.weights] : []
      }),
    )
    assert.ok(merges.every((numbers) => numbers.length === 2 && numbers.every((number) => Object.is(number, 0))))
  }))

test.run()
