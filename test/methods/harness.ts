/**
 * Runs a method as users do: tensors go into safetensors files, a recipe is planned and run, and the output is read
 * back. What comes out is held to the scalar reference of test/reference/.
 */

import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import * as assert from 'uvu/assert'
import type { TensorSpec } from '../../src/checkpoints/types.js'
import type { OutputDtype } from '../../src/core/dtypes.js'
import { WebAssembly } from '../../src/core/webassembly.js'
import { ARENA_START, compileKernels, instantiateKernels, type Kernels } from '../../src/kernels/index.js'
import { lookupMethod } from '../../src/methods/registry.js'
import { stacksOf } from '../../src/networks/layerNames.js'
import { plan } from '../../src/session/plan.js'
import { type RunResult, runWith } from '../../src/session/run.js'
import { layOut } from '../checkpoints/helpers.js'
import { reference } from '../reference/index.js'
import type { Given, Tensor } from '../reference/numeric.js'
import { inFolder } from '../support/files.js'
import { openInline } from '../support/pools.js'

const memory = new WebAssembly.Memory({ initial: 512 })
export const kernels: Kernels = instantiateKernels(await compileKernels(), memory)

/** Tensors by name. Weights, parameters, seed, compute and models' names are those of the first. */
export type Tensors = Readonly<Record<string, Given>>

export interface MergeOptions {
  /** What inputs are stored in; F32 unless told. */
  readonly dtype?: OutputDtype
  readonly threads?: number
  /** Of the output; the compute type unless told. */
  readonly output?: OutputDtype
  /** Map the files instead of reading them. */
  readonly map?: boolean
  /** Bound of anonymous memory. */
  readonly memory?: number
  /** Cases with the same tensors have the same models; not for methods that draw numbers and are held to a reference. */
  readonly shared?: boolean
}

export interface Merged {
  readonly tensors: Readonly<Record<string, Tensor>>
  /** The output file. */
  readonly bytes: Buffer
  readonly lineage: RunResult['outputs'][number]['lineage']
}

const NAMES = { F64: 'float64', F32: 'float32', F16: 'float16', BF16: 'bfloat16' } as const
const WIDTHS = { F64: 8, F32: 4, F16: 2, BF16: 2 } as const

/** Elements as stored bytes, rounded once from float64. */
function stored(values: Tensor, dtype: OutputDtype): Uint8Array {
  const out = new Uint8Array(values.length * WIDTHS[dtype])
  const room = 1 << 20
  for (let from = 0; from < values.length; from += room) {
    const part = Float64Array.from(values.subarray(from, from + room))
    new Float64Array(memory.buffer, ARENA_START, part.length).set(part)
    const at = ARENA_START + 8 * room
    kernels.encode('f64', dtype)(ARENA_START, at, part.length)
    out.set(new Uint8Array(memory.buffer, at, part.length * WIDTHS[dtype]), from * WIDTHS[dtype])
  }
  return out
}

/** Stored bytes as float64. */
function loaded(bytes: Uint8Array, dtype: OutputDtype): Float64Array {
  const out = new Float64Array(bytes.length / WIDTHS[dtype])
  const room = 1 << 20
  for (let from = 0; from < out.length; from += room) {
    const n = Math.min(room, out.length - from)
    const at = ARENA_START + 8 * room
    new Uint8Array(memory.buffer, at, n * WIDTHS[dtype]).set(
      bytes.subarray(from * WIDTHS[dtype]).subarray(0, n * WIDTHS[dtype]),
    )
    kernels.decode(dtype, 'f64')(at, ARENA_START, n)
    out.set(new Float64Array(memory.buffer, ARENA_START, n), from)
  }
  return out
}

/** The same with elements as the dtype stores them: what both the run and the reference are to be given. */
export function inDtype(given: Given, dtype: OutputDtype): Given {
  const round = (x: Tensor) => loaded(stored(x, dtype), dtype)
  return {
    ...given,
    inputs: given.inputs.map(round),
    ...(given.base ? { base: round(given.base) } : {}),
    ...(given.statistics ? { statistics: given.statistics.map(round) } : {}),
  }
}

/** A given with the names that the harness's recipe has: random numbers are drawn for them. */
export const named = (given: Given, tensor = 'w'): Given => ({
  ...given,
  modelNames: given.modelNames ?? given.inputs.map((_, i) => `m${i}`),
  tensorName: tensor,
  math: kernels.math as NonNullable<Given['math']>,
})

type Stored = Readonly<Record<string, { readonly shape: readonly number[]; readonly values: Tensor }>>

export function writeModel(file: string, tensors: Stored, dtype: OutputDtype): void {
  const specs: TensorSpec[] = Object.entries(tensors).map(([name, { shape }]) => ({ name, dtype, shape }))
  const layout = layOut(specs, { kind: 'file', metadata: {} })
  const { header, size } = layout.files[0]!
  const bytes = new Uint8Array(size)
  bytes.set(header)
  for (const { name, offset } of layout.tensors) bytes.set(stored(tensors[name]!.values, dtype), offset)
  writeFileSync(file, bytes)
}

export function readModel(bytes: Uint8Array, compute: Given['compute']): Record<string, Tensor> {
  const view = new DataView(bytes.buffer, bytes.byteOffset)
  const data = 8 + Number(view.getBigUint64(0, true))
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, data))) as Record<
    string,
    { dtype: OutputDtype; data_offsets: [number, number] }
  >
  const tensors: Record<string, Tensor> = {}
  for (const [name, { dtype, data_offsets }] of Object.entries(header)) {
    if (name === '__metadata__') continue
    const values = loaded(bytes.subarray(data + data_offsets[0], data + data_offsets[1]), dtype)
    tensors[name] = compute === 'float32' ? Float32Array.from(values) : values
  }
  return tensors
}

/** A list is one value a model, and written as a mapping. */
function written(given: Given, models: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(given.parameters ?? {}).map(([name, value]) => [
      name,
      Array.isArray(value) ? Object.fromEntries(models.map((model, i) => [model, value[i]])) : value,
    ]),
  )
}

/** One merge among those of a run. */
export interface Case {
  readonly method: string
  readonly tensors: Tensors
}

const settingsOf = ({ tensors }: Case): Given => Object.values(tensors)[0]!

/** Names of a case's models: random numbers are drawn for them, and no two cases may share them. */
export function modelNames(given: Given, index: number, cases: number): readonly string[] {
  const names = given.modelNames ?? given.inputs.map((_, i) => `m${i}`)
  return cases === 1 ? names : names.map((name) => `${index}-${name}`)
}

/** What is stored as F64 is computed in float64, whatever the recipe says. */
const promoted = (cases: readonly Case[], { dtype }: MergeOptions): readonly Case[] =>
  dtype !== 'F64'
    ? cases
    : cases.map(({ method, tensors }) => ({
        method,
        tensors: Object.fromEntries(
          Object.entries(tensors).map(([name, given]) => [name, { ...given, compute: 'float64' as const }]),
        ),
      }))

/** The recipe's text, as JSON, and the files it names, in `folder`: a step and an output for each case. */
export function writeCases(folder: string, cases: readonly Case[], options: MergeOptions = {}): string {
  const { compute, seed } = settingsOf(cases[0]!)
  const { dtype = 'F32', output = compute === 'float32' ? 'F32' : 'F64' } = options
  const models: Record<string, unknown> = {}
  const steps: Record<string, unknown> = {}
  /** By content, names of files and models. */
  const known = new Map<string, string>()
  const once = (key: () => string, make: () => string): string => {
    if (!options.shared) return make()
    const result = known.get(key()) ?? make()
    known.set(key(), result)
    return result
  }
  for (const [index, one] of cases.entries()) {
    const { method, tensors } = one
    const first = settingsOf(one)
    const own = modelNames(first, index, cases.length)
    const write = (name: string, pick: (given: Given) => Tensor): string => {
      const values = Object.entries(tensors).map(([tensor, given]) => {
        const values = pick(given)
        const columns = given.shape.at(-1) ?? 1
        const elements = given.shape.reduce((product, size) => product * size, 1)
        // Other than the tensor itself are Gram matrices.
        return [tensor, { shape: values.length === elements ? given.shape : [columns, columns], values }]
      })
      const content = () => `${name.replace(/^\d+-/, '')} ${JSON.stringify(values)}`
      return once(content, () => {
        writeModel(path.join(folder, `${name}.safetensors`), Object.fromEntries(values), dtype)
        return `${name}.safetensors`
      })
    }
    const add = (name: string, source: unknown): string =>
      once(
        () => JSON.stringify(source),
        () => {
          models[name] = source
          return name
        },
      )
    const base = first.base
      ? add(
          `${index}-base`,
          write(`${index}-base`, (given) => given.base!),
        )
      : ''
    const names = own.map((name, model) => {
      const file = write(name, (given) => given.inputs[model]!)
      return add(
        name,
        first.statistics
          ? { path: file, statistics: write(`${name}-statistics`, (given) => given.statistics![model]!) }
          : file,
      )
    })
    const declared = lookupMethod(method)
    steps[`step-${index}`] = {
      merge: {
        method,
        models: declared?.base === 'listed' ? [base, ...names] : names,
        ...(first.base ? { base } : { base: names[0] }),
        ...(first.weights && declared?.weights ? { weights: first.weights } : {}),
        parameters: written(first, names),
      },
    }
  }
  return JSON.stringify({
    terge: 1,
    models,
    steps,
    compute,
    ...(seed === undefined ? {} : { seed }),
    outputs: cases.map((_, index) => ({
      path: `out-${index}.safetensors`,
      from: `step-${index}`,
      dtype: NAMES[output],
    })),
  })
}

export const writeCase = (folder: string, method: string, tensors: Tensors, options: MergeOptions = {}): string =>
  writeCases(folder, [{ method, tensors }], options)

/** Plans and runs a recipe's text in a folder that has its models: what each output holds. */
export async function runOutputs(
  folder: string,
  text: string,
  compute: Given['compute'] = 'float32',
  options: MergeOptions = {},
): Promise<Merged[]> {
  const before = process.env.TERGE_IO
  if (options.map) process.env.TERGE_IO = 'map'
  try {
    const prepared = await plan(path.join(folder, 'recipe.yml'), { text })
    const { threads, memory } = options
    // A thread costs more than most merges of tests. Tests of threads say how many.
    const internals = threads === undefined && memory === undefined ? { openPool: openInline } : {}
    const { outputs } = await runWith(
      prepared,
      { threads: threads ?? 1, force: true, sync: false, ...(memory === undefined ? {} : { memory }) },
      internals,
    )
    return outputs.map((output) => {
      const bytes = readFileSync(output.path)
      return { tensors: readModel(bytes, compute), bytes, lineage: output.lineage }
    })
  } finally {
    if (before === undefined) delete process.env.TERGE_IO
    else process.env.TERGE_IO = before
  }
}

/** The same for a recipe with one output. */
export const runRecipe = async (...given: Parameters<typeof runOutputs>): Promise<Merged> =>
  (await runOutputs(...given))[0]!

export function mergeAll(given: readonly Case[], options: MergeOptions = {}): Promise<Merged[]> {
  const cases = promoted(given, options)
  const { compute } = settingsOf(given[0]!)
  const output = settingsOf(cases[0]!).compute === 'float32' ? 'F32' : 'F64'
  return inFolder((folder) =>
    runOutputs(
      folder,
      writeCases(folder, given, { output, ...options }),
      options.dtype === 'F64' ? 'float64' : compute,
      options,
    ),
  )
}

export const merge = async (method: string, tensors: Tensors, options: MergeOptions = {}): Promise<Merged> =>
  (await mergeAll([{ method, tensors }], options))[0]!

/** Bit for bit but for NaN, which is NaN. */
export function assertSame(actual: Tensor, expected: Tensor, what: string): void {
  let different = 0
  let first = -1
  for (let i = 0; i < expected.length; i++) {
    if (Object.is(actual[i], expected[i])) continue
    if (first < 0) first = i
    different++
  }
  if (actual.length === expected.length && different === 0) return
  assert.unreachable(
    `${what}: ${different} of ${expected.length} differ, first [${first}]: ${actual[first]} for ${expected[first]}`,
  )
}

/** By at most `tolerance` of the expected's largest magnitude, but for a share `off` of the elements. */
export function assertClose(
  actual: Tensor,
  expected: ArrayLike<number>,
  tolerance: number,
  what: string,
  off = 0,
): void {
  let largest = 0
  for (let i = 0; i < expected.length; i++) largest = Math.max(largest, Math.abs(expected[i]!))
  let [count, worst] = [0, 0]
  for (let i = 0; i < expected.length; i++) {
    const error = Math.abs(actual[i]! - expected[i]!) / (largest || 1)
    if (error <= tolerance) continue
    count++
    worst = Math.max(worst, Number.isNaN(error) ? Number.POSITIVE_INFINITY : error)
  }
  assert.is(actual.length, expected.length, what)
  assert.ok(count <= off * expected.length, `${what}: ${count} of ${expected.length} off, by up to ${worst}`)
}

type ReferenceOptions = MergeOptions & { readonly tolerance?: number }

/** Merges all cases in one run and holds every tensor to the reference, which is given the elements as they are stored. */
export async function assertReferences(asked: readonly Case[], options: ReferenceOptions = {}): Promise<Merged[]> {
  const results = await mergeAll(asked, options)
  const cases = promoted(asked, options)
  for (const [index, one] of cases.entries()) {
    const first = settingsOf(one)
    const { weights, parameters } = first
    const { seed } = settingsOf(cases[0]!)
    const { of } = stacksOf(Object.keys(one.tensors))
    for (const [name, given] of Object.entries(one.tensors)) {
      const layer = of(name)?.layer
      const layers = of(name)?.stack.depth ?? 0
      const settings = {
        ...(weights ? { weights } : {}),
        ...(parameters ? { parameters } : {}),
        ...(seed === undefined ? {} : { seed }),
        modelNames: modelNames(first, index, cases.length),
        ...(layer === undefined ? {} : { layer: { index: layer, count: layers } }),
      }
      const { dtype = 'F32', tolerance } = options
      const expected = reference(one.method, named(inDtype({ ...given, ...settings }, dtype), name))
      const what = `${one.method} ${name} ${given.compute} from ${dtype} ${JSON.stringify(parameters ?? {})}`
      const actual = results[index]!.tensors[name]!
      if (tolerance === undefined) assertSame(actual, expected, what)
      else assertClose(actual, expected, tolerance, what)
    }
  }
  return results
}

export const assertReference = async (
  method: string,
  tensors: Tensors,
  options: ReferenceOptions = {},
): Promise<Merged> => (await assertReferences([{ method, tensors }], options))[0]!

/** The same bytes on one thread, on two, and where files are mapped instead of read; all cases in each run. */
export async function assertAllSteady(cases: readonly Case[], options: MergeOptions = {}): Promise<void> {
  await inFolder(async (folder) => {
    const { compute } = settingsOf(cases[0]!)
    const text = writeCases(folder, cases, options)
    const runs: Merged[][] = []
    for (const how of [{ threads: 1 }, { threads: 2 }, { threads: 2, map: true }])
      runs.push(await runOutputs(folder, text, compute, { ...options, ...how }))
    for (const [index, { method }] of cases.entries())
      assert.ok(
        runs.every((run) => run[index]!.bytes.equals(runs[0]![index]!.bytes)),
        `${method}: the bytes differ between runs`,
      )
  })
}

export const assertSteady = (method: string, tensors: Tensors, options: MergeOptions = {}): Promise<void> =>
  assertAllSteady([{ method, tensors }], options)
