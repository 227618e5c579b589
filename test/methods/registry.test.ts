/** Every method of the registry: the same bytes whatever the threads, the memory and the way files are read. */

import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { METHODS } from '../../src/methods/registry.js'
import type { Method } from '../../src/methods/types.js'
import { REFERENCES } from '../reference/index.js'
import { bell } from '../reference/samples.js'
import { inFolder } from '../support/files.js'
import { runOutputs, writeModel } from './harness.js'

const folder = fileURLToPath(new URL('../../../test/reference/', import.meta.url))

test('each method has a scalar reference, and no reference is of nothing', () => {
  assert.equal(Object.keys(REFERENCES).sort(), METHODS.map(({ name }) => name).sort())
})

test('references share nothing with the methods: of the program they take the random numbers and two sizes', () => {
  const files = readdirSync(folder).filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'))
  const taken = files
    .flatMap((name) => [...readFileSync(path.join(folder, name), 'utf8').matchAll(/^import (?!type )[^']*'([^']+)'/gm)])
    .map(([, from]) => from!)
    .filter((from) => from.startsWith('../'))
  assert.equal([...new Set(taken)].sort(), ['../../src/core/random.js', '../../src/kernels/types.js'])
})

/** A tile and a bit in rows that do not divide it, and what is less than a chunk. */
const SHAPES: Readonly<Record<string, readonly number[]>> = { large: [521, 510], small: [3, 5, 7], vector: [41] }
/** Whole matrices are decomposed: a little more than a tile takes long enough. */
const HELD: Readonly<Record<string, readonly number[]>> = { matrix: [70, 90], vector: [41] }
/** What has no default, and what makes a method drop or select. */
const PARAMETERS: Readonly<Record<string, number | string>> = {
  t: 0.3,
  density: 0.4,
  select_topk: 0.4,
  rescale: 'l1',
  ratio: 0.3,
  formula: 'base + mean(where(abs(delta) >= tensor_quantile(abs(delta), 0.7), delta / tensor_norm(delta), 0))',
}

function parametersOf(method: Method): Record<string, number | string> {
  const names = method.parameters.map(({ name }) => name)
  return Object.fromEntries(Object.entries(PARAMETERS).filter(([name]) => names.includes(name)))
}

/** Models with tensors of these shapes: a base and three fine-tunes. */
function writeModels(folder: string, prefix: string, shapes: Readonly<Record<string, readonly number[]>>): void {
  for (const model of ['base', 'm0', 'm1', 'm2']) {
    const tensors = Object.entries(shapes).map(([name, shape]) => {
      const n = shape.reduce((product, size) => product * size, 1)
      const base = bell(`${name} base`, n, 0.1)
      const delta = model === 'base' ? undefined : bell(`${name} ${model}`, n, 0.01)
      return [name, { shape, values: delta ? base.map((value, i) => value + delta[i]!) : base }]
    })
    writeModel(path.join(folder, `${prefix}-${model}.safetensors`), Object.fromEntries(tensors), 'BF16')
  }
}

/** A recipe with a step a method, over models whose names begin with the prefix. */
function recipe(methods: readonly Method[], prefix: string): string {
  const name = (model: string) => `${prefix}-${model}`
  const names = (method: Method): string[] => {
    const all = method.base === 'listed' ? ['base', 'm0', 'm1', 'm2'] : ['m0', 'm1', 'm2']
    return all.slice(0, method.models.most ?? 3).map(name)
  }
  return JSON.stringify({
    terge: 1,
    models: Object.fromEntries(['base', 'm0', 'm1', 'm2'].map((model) => [name(model), `${name(model)}.safetensors`])),
    steps: Object.fromEntries(
      methods.map((method) => [
        `by-${method.name}`,
        {
          merge: {
            method: method.name,
            models: names(method),
            base: method.base === 'none' || method.base === 'optional' ? names(method)[0] : name('base'),
            parameters: parametersOf(method),
          },
        },
      ]),
    ),
    outputs: methods.map((method) => ({ path: `out-${method.name}.safetensors`, from: `by-${method.name}` })),
  })
}

const settings = { tensor: '', shape: [4, 4], models: ['a', 'b', 'c'], weights: [1, 1, 1], seed: 0, onBase: true }
const holds = (method: Method): boolean =>
  method.passes({ ...settings, parameters: parametersOf(method) }).held !== undefined
/** These read a file of statistics a model besides. */
const STATISTICS = ['fisher', 'regmean']

for (const held of [false, true])
  test(`the same bytes on every run: methods over ${held ? 'whole matrices' : 'tiles'}`, () =>
    inFolder(async (folder) => {
      const methods = METHODS.filter((method) => !STATISTICS.includes(method.name) && holds(method) === held)
      writeModels(folder, 'x', held ? HELD : SHAPES)
      const text = recipe(methods, 'x')
      const first = await runOutputs(folder, text, 'float32', { threads: 1 })
      for (const how of [{ threads: 2 }, { threads: 2, memory: 4e8 }, { threads: 2, map: true }]) {
        const again = await runOutputs(folder, text, 'float32', how)
        for (const [index, method] of methods.entries())
          assert.ok(again[index]!.bytes.equals(first[index]!.bytes), `${method.name} ${JSON.stringify(how)}`)
      }
    }))

test.run()
