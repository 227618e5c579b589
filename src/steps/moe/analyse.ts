/** Rows of routers, and tensors that are put together. */

import { sharedFloats } from '../../core/collections/sharedArrays.js'
import { fault } from '../../core/diagnostics.js'
import { sha256 } from '../../core/digest.js'
import { elements } from '../../core/dtypes.js'
import type { AnalysisTensor } from '../../expr/types.js'
import type { AnalysisCost, Found, FoundArrays, Workshop } from '../analysis.js'
import { rowReader } from '../shared/rowReader.js'
import { type MoeAnalysis, type MoeFound, tensorsOf, tokensOf } from './types.js'

type Routers = NonNullable<MoeAnalysis['routers']>
type Reader = Workshop['reader']

export const analysisTensors = ({ routers, joins }: MoeAnalysis): readonly AnalysisTensor[] => [
  ...(routers?.embedding ? [routers.embedding] : []),
  ...tensorsOf(routers?.rows ?? []),
  ...joins.flatMap(({ parts }) => parts),
]

/** Rows of an embedding are read alone where it is stored. */
const isStored = ({ expr }: AnalysisTensor): boolean => expr.kind === 'read'

export function moeCost({ steps, routers, joins }: MoeAnalysis): AnalysisCost {
  const { rows = [], layers = 0, width = 0, embedding } = routers ?? {}
  const table = embedding && !isStored(embedding) ? elements(embedding.shape) : tokensOf(rows).length * width
  const most = Math.max(0, ...joins.map(({ parts }) => parts.reduce((sum, { shape }) => sum + elements(shape), 0)))
  const found = rows.length * layers * width
  // Besides a tensor, its parts are there, and those of the one before and the one after it.
  return { steps, bytes: 4 * Math.max(table + 3 * found, 4 * most), multiplications: table + found }
}

export async function findRouters(
  { steps, routers }: MoeAnalysis,
  { reader }: Workshop,
): Promise<ReadonlyMap<string, Found<MoeFound>>> {
  const [step] = steps as [string]
  if (!routers) return new Map([[step, { record: {}, arrays: {} }]])
  const { rows, gate } = routers
  const found = gate === 'embedding' ? await byEmbedding(routers, reader) : await byStatistics(routers, reader)
  if (!found.every(Number.isFinite))
    throw fault(
      'bad-statistics',
      `the routers of ${step} would have values that are not finite`,
      gate === 'embedding' ? 'use a base whose embedding is sound' : 'make the statistics again',
    )
  const tokens = rows.flatMap((row) => (row.kind === 'tokens' ? [tokensOf([row]).length] : []))
  const record = { ...(gate === 'embedding' ? { tokens } : {}), ...doubts(routers, found) }
  return new Map([[step, { record, arrays: { rows: found } }]])
}

/** Rows of experts that say nothing: zeros, or those of another expert. A zero gate of a shared expert is meant so. */
function doubts({ rows, width, layers, tensors }: Routers, found: Float32Array): MoeFound {
  const experts = Math.min(...tensors.map(({ to }) => to))
  const places = found.length / (rows.length * width)
  const zeros: number[] = []
  const equal: number[] = []
  for (let place = 0; place < places; place++) {
    const of = Array.from({ length: experts }, (_, row) =>
      found.subarray((place * rows.length + row) * width, (place * rows.length + row + 1) * width).join(),
    )
    const nothing = new Float32Array(width).join()
    if (of.includes(nothing)) zeros.push(place)
    if (new Set(of).size < of.length) equal.push(place)
  }
  const all = (list: readonly number[]) => (places === layers ? list : list.flatMap(() => [...Array(layers).keys()]))
  return { ...(zeros.length > 0 ? { zeros: all(zeros) } : {}), ...(equal.length > 0 ? { equal: all(equal) } : {}) }
}

/** One row for all layers: the normalised sums of embeddings, normalised after their difference. In float64, rounded once. */
async function byEmbedding({ rows, width, embedding }: Routers, reader: Reader): Promise<Float32Array> {
  const ids = [...new Set(tokensOf(rows))].sort((a, b) => a - b)
  const table = new Float32Array(ids.length * width)
  await rowReader(reader, embedding!, width)(Int32Array.from(ids), table)
  const places = new Map(ids.map((id, at) => [id, at]))
  const sum = (texts: readonly (readonly number[])[]): Float64Array => {
    const total = new Float64Array(width)
    for (const id of texts.flat()) {
      const at = places.get(id)! * width
      for (let i = 0; i < width; i++) total[i]! += table[at + i]!
    }
    return normalised(total)
  }
  const found = new Float32Array(rows.length * width)
  for (const [index, row] of rows.entries())
    if (row.kind === 'tokens') found.set(normalised(difference(sum(row.positive), sum(row.negative))), index * width)
  return found
}

/** A row for each layer: the difference of means, normalised. */
async function byStatistics({ rows, layers, width }: Routers, reader: Reader): Promise<Float32Array> {
  const found = new Float32Array(rows.length * layers * width)
  for (const [index, row] of rows.entries()) {
    if (row.kind !== 'means') continue
    const positive = await reader.read(row.positive)
    const negative = row.negative && (await reader.read(row.negative))
    for (let layer = 0; layer < layers; layer++) {
      const part = (of: Float32Array) => Float64Array.from(of.subarray(layer * width, (layer + 1) * width))
      const own = difference(part(positive), negative ? part(negative) : new Float64Array(width))
      found.set(normalised(own), (layer * rows.length + index) * width)
    }
  }
  return found
}

const difference = (a: Float64Array, b: Float64Array): Float64Array => a.map((value, i) => value - b[i]!)

/** Of a norm below 1e-8, an eighth power of ten, as mergekit has it: nothing grows without bound. */
function normalised(of: Float64Array): Float64Array {
  const norm = Math.sqrt(of.reduce((sum, value) => sum + value * value, 0))
  return of.map((value) => value / Math.max(norm, 1e-8))
}

/** How a router is made. `prompts`: a digest of the tokens of its rows' prompts, whose texts are in the record of the step. */
export function routerParameters({ routers }: MoeAnalysis, tensor: string) {
  const own = routers?.tensors.find((one) => one.tensor === tensor)
  if (!own || !routers) return undefined
  const prompts = routers.rows
    .slice(own.from, own.to)
    .flatMap((row) => (row.kind === 'tokens' ? [[row.positive, row.negative]] : []))
  return { gate: routers.gate, ...(prompts.length > 0 ? { prompts: sha256(JSON.stringify(prompts)) } : {}) }
}

/** A router, or a tensor that is put together from its parts. */
export async function madeTensor(
  { routers, joins }: MoeAnalysis,
  found: FoundArrays,
  { tensor }: { readonly tensor: string },
  { reader }: Workshop,
): Promise<Float32Array> {
  const own = routers?.tensors.find((one) => one.tensor === tensor)
  if (own && routers) {
    const { width, rows, gate } = routers
    const first = (gate === 'embedding' ? 0 : own.layer * rows.length) + own.from
    const values = sharedFloats((own.to - own.from) * width)
    values.set((found.rows as Float32Array).subarray(first * width, (first + own.to - own.from) * width))
    return values
  }
  const { parts } = joins.find((one) => one.tensor === tensor)!
  const values = sharedFloats(parts.reduce((sum, { shape }) => sum + elements(shape), 0))
  let at = 0
  for (const part of parts) {
    values.set(await reader.read(part), at)
    at += elements(part.shape)
  }
  return values
}
