/**
 * Random configurations against mergekit's own rules for the value of a parameter, computed tensor by tensor:
 * filters by substring, levels, gradients over a slice, names in sources and in the output.
 */

import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Expr } from '../../src/expr/types.js'
import { siteOf, withLayer } from '../../src/networks/layerNames.js'
import type { Plan } from '../../src/plan/types.js'
import { plan } from '../../src/session/plan.js'
import { mainStored } from '../../src/views/stored.js'
import { inFolder } from '../support/files.js'

import { writeTensors } from './tensors.js'

type Value = number | readonly number[]
type Setting = Value | readonly { readonly filter?: string; readonly value: Value }[]
type Parameters = Readonly<Record<string, Setting>>
interface Source {
  readonly model: string
  readonly layer_range: readonly [number, number]
  readonly parameters?: Parameters
}
interface Slice {
  readonly sources: readonly Source[]
  readonly parameters?: Parameters
}

type Models = ReadonlyMap<string, ReadonlyMap<string, readonly number[]>>

const LAYERS = 12
const PARTS = ['attn.q.weight', 'attn.o.weight', 'mlp.up.weight']
const OUTER = ['embed_tokens.weight', 'norm.weight', 'lm_head.weight']
const NAMES = [...OUTER, ...Array.from({ length: LAYERS }, (_, i) => PARTS.map((one) => `layers.${i}.${one}`)).flat()]
const FILTERS = ['attn', 'mlp', 'q.weight', 'layers.1', '.2.mlp', '1.', 'o.', 'norm', 'weight', '*', 'nothing']

function generator(seed: number): {
  below: (n: number) => number
  pick: <T>(of: readonly T[]) => T
  share: () => number
} {
  let state = seed >>> 0
  const next = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
  const below = (n: number): number => Math.floor(next() * n)
  return { below, pick: (of) => of[below(of.length)]!, share: () => Math.round(next() * 90 + 5) / 100 }
}

type Random = ReturnType<typeof generator>

const value = ({ below, share }: Random): Value =>
  below(3) > 0 ? share() : Array.from({ length: 2 + below(3) }, share)

function setting(random: Random, closed: boolean): Setting {
  if (random.below(2) === 0) return value(random)
  const entries = Array.from({ length: 1 + random.below(3) }, () => ({
    filter: random.pick(FILTERS),
    value: value(random),
  }))
  return closed ? [...entries, { value: value(random) }] : entries
}

function evaluate(at: Setting | undefined, name: string, t: number): number | undefined {
  if (at === undefined) return undefined
  if (typeof at === 'number') return at
  if (typeof at[0] === 'number') {
    const list = at as readonly number[]
    const place = t * (list.length - 1)
    const low = Math.min(Math.floor(place), list.length - 1)
    const high = Math.min(low + 1, list.length - 1)
    return list[low]! * (1 - (place - low)) + list[high]! * (place - low)
  }
  for (const { filter, value } of at as Exclude<Setting, Value>)
    if (filter === undefined || filter === '*' || name.includes(filter)) return evaluate(value, name, t)
  return undefined
}

const first = (values: readonly (number | undefined)[]): number => values.find((one) => one !== undefined)!

/** Weighted sums: linear without normalize. */
function expected(slices: readonly Slice[], parameters: Parameters, models: Models): Map<string, number[]> {
  const found = new Map<string, number[]>()
  const merge = (slice: Slice, output: string, nameIn: (source: Source) => string, t: number): void => {
    const sums = [0, 0, 0]
    for (const source of slice.sources) {
      const name = nameIn(source)
      const levels = [source.parameters, slice.parameters, parameters].map((level) => evaluate(level?.weight, name, t))
      const x = models.get(source.model)!.get(name)!
      for (const i of sums.keys()) sums[i]! += first(levels) * x[i]!
    }
    found.set(output, sums)
  }
  let height = 0
  for (const slice of slices) {
    const [from, to] = slice.sources[0]!.layer_range
    for (let layer = 0; layer < to - from; layer++) {
      const t = to - from > 1 ? layer / (to - from - 1) : 1
      for (const part of PARTS)
        merge(
          slice,
          `layers.${height + layer}.${part}`,
          (source) => `layers.${source.layer_range[0] + layer}.${part}`,
          t,
        )
    }
    height += to - from
  }
  for (const name of OUTER) merge(name.startsWith('embed') ? slices[0]! : slices.at(-1)!, name, () => name, 0)
  return found
}

/** The value of a plan's expression, for the two methods that these configurations use. */
function valuesOf(expr: Expr, planned: Plan, models: Models): number[] {
  if (expr.kind === 'read') {
    const { file, tensor } = mainStored(expr.view)
    const { reference } = planned.models[planned.files[file]!.model]!
    return [...models.get(path.basename(reference, '.safetensors'))!.get(tensor)!]
  }
  if (expr.kind !== 'merge') throw new Error('another kind of expression')
  const factors = expr.method === 'linear' ? expr.weights : (expr.parameters.scale as number[])
  const inputs = expr.inputs.map((input) => valuesOf(input, planned, models))
  return inputs[0]!.map((_, i) => inputs.reduce((sum, input, model) => sum + factors[model]! * input[i]!, 0))
}

test('parameters get their values in the same order as in mergekit', () =>
  inFolder(async (folder) => {
    const random = generator(20260729)
    const models = new Map<string, Map<string, readonly number[]>>()
    for (const model of ['a', 'b', 'c']) {
      const tensors = new Map(NAMES.map((name) => [name, Array.from({ length: 3 }, () => Math.fround(random.share()))]))
      models.set(model, tensors)
      writeTensors(path.join(folder, `${model}.safetensors`), Object.fromEntries(tensors))
    }
    for (let round = 0; round < 25; round++) {
      const slices = Array.from({ length: 1 + random.below(3) }, (): Slice => {
        const length = random.pick([1, 2, 5, LAYERS])
        const sources = ['a', 'b', 'c'].slice(0, 1 + random.below(3)).map((model): Source => {
          const from = random.below(LAYERS - length + 1)
          const own = random.below(4) > 0 ? { parameters: { weight: setting(random, false) } } : {}
          return { model, layer_range: [from, from + length], ...own }
        })
        return { sources, ...(random.below(2) > 0 ? { parameters: { weight: setting(random, false) } } : {}) }
      })
      const parameters = { weight: setting(random, true) }
      const named = slices.map((slice) => ({
        ...slice,
        sources: slice.sources.map((source) => ({ ...source, model: `${source.model}.safetensors` })),
      }))
      const config = {
        merge_method: 'linear',
        slices: named,
        parameters: { ...parameters, normalize: false },
        dtype: 'float32',
      }
      const file = path.join(folder, 'config.yml')
      writeFileSync(file, JSON.stringify(config))
      const planned = (await plan(file, { output: 'out.safetensors' })).plan
      const ours = new Map(planned.outputs[0]!.tensors.map(({ name, expr }) => [name, valuesOf(expr, planned, models)]))
      const wanted = expected(slices, parameters, models)
      assert.equal([...ours.keys()].sort(), [...wanted.keys()].sort(), JSON.stringify(config))
      for (const [name, values] of wanted)
        for (const [i, number] of values.entries())
          assert.ok(Math.abs(ours.get(name)![i]! - number) < 1e-9, `${name} of ${JSON.stringify(config)}`)
    }
  }))

test('the layer number in a name is found', () => {
  assert.is(siteOf('layers.10.x')?.layer, 10)
  assert.is(withLayer('layers.10.x.3', 7), 'layers.7.x.3')
  assert.is(withLayer('norm.weight', 7), 'norm.weight')
})

test.run()
