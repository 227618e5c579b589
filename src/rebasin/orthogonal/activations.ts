/** Similarities of two models' activations, to which orthogonal matching adds those of the weights. */

import { sharedFloats } from '../../core/collections/sharedArrays.js'
import { fault } from '../../core/diagnostics.js'
import { byColumns, productInto } from '../../kernels/linalg.js'
import type { Activations } from '../activations/matching.js'
import { standardized, transformed } from '../activations/standard.js'
import type { ThreadTeam } from '../team/team.js'
import { createWeights, type TensorSource, type Weights, type WeightsBudget } from '../weights.js'
import type { HeadGrams } from './heads.js'
import type { Layout } from './layout.js'
import type { Role } from './roles.js'

/** Of each tensor, the sum over matched places is at most `weight`. */
export interface ActivationSums {
  readonly weight: number
  /** Bᵀ·A of the residual stream: hidden × hidden. */
  readonly stream: Float32Array
  /** How many tensors of the residual stream there are. */
  readonly streams: number
  /** Adds similarities of feed-forward units: of those that can change sign to `signed`, of the others to `plain`. */
  readonly addUnits: (layer: number, plain: Float32Array, signed: Float32Array) => Promise<void>
  readonly addHeads: (layer: number, grams: HeadGrams) => Promise<void>
}

/** Both models' activations have the tensors of `roles`. Error: `bad-statistics` for values that are not finite. */
export async function activationSums(
  { a, b, roles }: OrthogonalActivations,
  weight: number,
  { hidden, kind, shape }: Layout,
  team: ThreadTeam,
  budget?: WeightsBudget,
): Promise<ActivationSums> {
  const ofKind = (wanted: (kind: Role['kind']) => boolean) =>
    [...roles].filter(([, { kind }]) => wanted(kind)).map(([name]) => name)
  const units = ofKind((kind) => kind === 'units')
  const streams = ofKind((kind) => kind === 'stream')
  const heads = ofKind((kind) => kind !== 'units' && kind !== 'stream')
  const side = async ({ of, source }: Activations) => {
    const standard = await standardized(source, units, of, team, budget)
    return {
      units: createWeights(
        timesRoot(standard.source, (shape) => weight / shape[1]!),
        budget,
      ),
      stream: createWeights(
        timesRoot(normalizedRows(source, of, kind === 'layer'), (shape) => weight / shape[0]!),
        budget,
      ),
      heads: createWeights(
        timesRoot(await unitNorm(source, heads, of, team, budget), () => weight),
        budget,
      ),
    }
  }
  const [left, right] = [await side(a), await side(b)]
  const stream = sharedFloats(hidden * hidden)
  for (const name of streams) await addColumns(stream, right.stream, left.stream, name, team)
  return {
    weight,
    stream,
    streams: streams.length,
    async addUnits(layer, plain, signed) {
      for (const name of units) {
        const role = roles.get(name)!
        if (role.kind === 'units' && role.layer === layer)
          await addColumns(role.signed ? signed : plain, left.units, right.units, name, team)
      }
    },
    async addHeads(layer, grams) {
      for (const name of heads) {
        const role = roles.get(name)!
        if (role.kind === 'stream' || role.kind === 'units' || role.layer !== layer) continue
        const kinds = role.kind === 'qkv' ? (['q', 'k', 'v'] as const) : [role.kind]
        const places = shape!.kv * shape!.q * shape!.width
        for (const [part, own] of kinds.entries())
          await addColumns(
            grams[own],
            left.heads,
            right.heads,
            name,
            team,
            kinds.length > 1 ? { from: part * places, places } : undefined,
          )
      }
    },
  }
}

/** Activations of both models, and what each tensor is. */
export interface OrthogonalActivations {
  readonly a: Activations
  readonly b: Activations
  readonly roles: ReadonlyMap<string, Role>
}

/** So that products of two such sources are as many times larger. */
const timesRoot = (source: TensorSource, factor: (shape: readonly number[]) => number): TensorSource =>
  transformed(source, (name, rows) => {
    const root = Math.sqrt(factor(source.tensors.get(name)!.shape))
    for (let i = 0; i < rows.length; i++) rows[i] = rows[i]! * root
  })

/** C += Xᵀ·Y over the samples, in whole blocks of samples, so that what is read at once does not affect the sums. */
async function addColumns(
  c: Float32Array,
  x: Weights,
  y: Weights,
  name: string,
  team: ThreadTeam,
  some?: { readonly from: number; readonly places: number },
): Promise<void> {
  const [samples, width] = x.source.tensors.get(name)!.shape as [number, number]
  const most = Math.max(BLOCK, Math.floor(Math.min(x.part, y.part) / width / BLOCK) * BLOCK)
  for (let first = 0; first < samples; first += most) {
    const rows = Int32Array.from({ length: Math.min(most, samples - first) }, (_, i) => first + i)
    const [left, right] = [await x.rows(name, rows), await y.rows(name, rows)]
    const operand = ({ data, starts }: typeof left) => {
      const all = byColumns(data.subarray(starts[0]!, starts[0]! + rows.length * width), rows.length, width)
      return some ? { ...all, units: all.units.subarray(some.from, some.from + some.places) } : all
    }
    await team.addProduct(productInto(c, operand(left), operand(right)))
    left.release()
    right.release()
    await team.pause()
  }
}

/** Products add up blocks of so many. */
const BLOCK = 256

const notFinite = (of: string, name: string) =>
  fault(
    'bad-statistics',
    `the activations of ${of} have values in ${name} that are not finite`,
    'measure them again, in float32, on inputs for which the network computes finite values',
  )

/** Each sample has norm 1: norms read only its direction, and LayerNorm what differs from its mean. */
const normalizedRows = (source: TensorSource, of: string, centred: boolean): TensorSource =>
  transformed(source, (name, rows) => {
    const width = source.tensors.get(name)!.shape[1]!
    for (let start = 0; start < rows.length; start += width) {
      let [mean, square] = [0, 0]
      for (let j = 0; centred && j < width; j++) mean += rows[start + j]! / width
      for (let j = 0; centred && j < width; j++) rows[start + j] = rows[start + j]! - mean
      for (let j = 0; j < width; j++) square += rows[start + j]! ** 2
      if (!Number.isFinite(square)) throw notFinite(of, name)
      const scale = square > 0 ? 1 / Math.sqrt(square) : 0
      for (let j = 0; j < width; j++) rows[start + j] = rows[start + j]! * scale
    }
  })

/** Each tensor as a whole has norm 1. */
async function unitNorm(
  source: TensorSource,
  names: readonly string[],
  of: string,
  team: ThreadTeam,
  budget?: WeightsBudget,
): Promise<TensorSource> {
  const weights = createWeights(source, budget)
  const scales = new Map<string, number>()
  for (const name of names) {
    const [samples, width] = source.tensors.get(name)!.shape as [number, number]
    const most = Math.max(1, Math.floor(weights.part / width))
    let square = 0
    for (let first = 0; first < samples; first += most) {
      const rows = Int32Array.from({ length: Math.min(most, samples - first) }, (_, i) => first + i)
      const { data, starts, release } = await weights.rows(name, rows)
      for (const start of starts) for (let j = 0; j < width; j++) square += data[start + j]! ** 2
      release()
      await team.pause()
    }
    if (!Number.isFinite(square)) throw notFinite(of, name)
    scales.set(name, square > 0 ? 1 / Math.sqrt(square) : 0)
  }
  return transformed(source, (name, rows) => {
    const scale = scales.get(name)!
    for (let i = 0; i < rows.length; i++) rows[i] = rows[i]! * scale
  })
}
