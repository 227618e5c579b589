/** The cases of fixtures/golden-tensors, in mergekit's names and meaning, as what `reference` takes. */
import { readFileSync } from 'node:fs'
import type { Compute, Given } from './numeric.js'

interface GoldenCase {
  readonly case: string
  readonly method: string
  readonly parameters: Readonly<Record<string, number | boolean>>
  readonly base: boolean
  readonly models: number
  readonly per_model: readonly Readonly<Record<string, number>>[] | null
}

export interface Golden {
  readonly name: string
  readonly method: string
  readonly given: Given
  readonly expected: Float32Array
}

const folder = new URL('../../../test/fixtures/golden-tensors/', import.meta.url)

interface Stored {
  readonly shape: readonly number[]
  readonly values: Float32Array
}

/** All of a safetensors file of float32 tensors that this project made itself: no checks. */
function read(file: URL): ReadonlyMap<string, Stored> {
  const bytes = readFileSync(file)
  const end = 8 + Number(bytes.readBigUInt64LE(0))
  const header = JSON.parse(bytes.toString('utf8', 8, end)) as Record<
    string,
    { shape: number[]; data_offsets: [number, number] }
  >
  delete header.__metadata__
  return new Map(
    Object.entries(header).map(
      ([
        name,
        {
          shape,
          data_offsets: [from, to],
        },
      ]) => [
        name,
        {
          shape,
          values: new Float32Array(bytes.buffer.slice(bytes.byteOffset + end + from, bytes.byteOffset + end + to)),
        },
      ],
    ),
  )
}

/** The base is the first participant of slerp, the base apart from the other model for nearswap and arcee_fusion. */
const BASE_TAKES_PART = new Set(['slerp'])

export function goldenCases(shape: '150' | '48x40', compute: Compute): readonly Golden[] {
  const tensors = read(new URL(`${shape}.safetensors`, folder))
  const cases = JSON.parse(readFileSync(new URL(`${shape}.json`, folder), 'utf8')) as GoldenCase[]
  return cases.map((golden) => {
    const models = Array.from({ length: golden.models }, (_, i) => tensors.get(`in.${i}`)!)
    const base = tensors.get('base')!
    const takesPart = golden.base && BASE_TAKES_PART.has(golden.method)
    const inputs = [...(takesPart ? [base] : []), ...models].map(({ values }) => values)
    const given: Given = {
      inputs,
      ...(golden.base && !takesPart ? { base: base.values } : {}),
      weights: inputs.map((_, i) => golden.per_model?.[i]?.weight ?? 1),
      parameters: { ...translated(golden.parameters), ...perModel(golden) },
      shape: base.shape,
      compute,
    }
    return {
      name: `${shape} ${golden.case}`,
      method: golden.method,
      given,
      expected: tensors.get(`out.${golden.case}`)!.values,
    }
  })
}

function translated(parameters: GoldenCase['parameters']): Record<string, unknown> {
  const { nuslerp_flatten, nuslerp_row_wise, int8_mask, rescale, ...same } = parameters
  return {
    ...same,
    ...(nuslerp_flatten === undefined ? {} : { flatten: nuslerp_flatten }),
    // Its `true` works on columns.
    ...(nuslerp_flatten === false ? { row_wise: nuslerp_row_wise !== true } : {}),
    ...(rescale === undefined ? {} : { rescale: rescale ? 'l1' : false }),
  }
}

function perModel(golden: GoldenCase): Record<string, readonly number[]> {
  const names = new Set(golden.per_model?.flatMap((parameters) => Object.keys(parameters)))
  names.delete('weight')
  return Object.fromEntries([...names].map((name) => [name, golden.per_model!.map((parameters) => parameters[name]!)]))
}
