/**
 * Alignment by orthogonal maps, for transformers that normalise before each sublayer. With the norms' weights folded into the
 * matrices that follow them, such a network computes the same in any orthonormal basis of its residual stream; with LayerNorm, in
 * any that keeps the vector of ones, along which it subtracts. A value head has any basis of its own; a query/key head too, or with
 * rotary positions one rotation per pair; the hidden units of a feed-forward have any order. Where norms are part of the stream, or
 * the embedding is the head, the stream has only other orders. Alternating maximisation of Σ ⟨A, B'⟩ over folded matrices, each
 * matrix once and divided by the root of both models' norms of it, so that the large ones do not decide alone (without that the
 * midpoint is worse). The result is expressed with A's norm weights and biases (fold, rotate, divide): the aligned B has A's norms,
 * and computes what B did.
 */

import { sharedFloats } from '../../core/collections/sharedArrays.js'
import { fault } from '../../core/diagnostics.js'
import { byColumns, byRows, productInto } from '../../kernels/linalg.js'
import { convergence } from '../estimate.js'
import type { ThreadTeam } from '../team/team.js'
import { createWeights, type TensorSource, type WeightsBudget } from '../weights.js'
import { type ActivationSums, activationSums, type OrthogonalActivations } from './activations.js'
import { type FoldedReader, foldedReader, normsOf } from './folded.js'
import { type LayerMaps, type OrthogonalMaps, orthogonalForm, orthogonalObstacle } from './form.js'
import { layerChanges, matchHeads } from './heads.js'
import { KEYS, type Key, type Layout, type Matrix, writes } from './layout.js'
import { applyChanges } from './products.js'

export interface OrthogonalResult {
  readonly maps: OrthogonalMaps
  readonly rounds: number
  /** Σ ⟨A, B'⟩ over the folded matrices, before (identity) and after, and divided by the norms. */
  readonly similarityBefore: number
  readonly similarityAfter: number
  /** With activations of the residual stream: mean cosines over samples. */
  readonly correlation?: { readonly before: number; readonly after: number }
}

export interface OrthogonalOptions {
  readonly maxIterations?: number
  /** Activations that count as much as the weights together, or that alone decide. */
  readonly activations?: OrthogonalActivations & { readonly alone: boolean }
  /** Memory for each of the two models. */
  readonly budget?: WeightsBudget
  readonly onProgress?: (progress: OrthogonalProgress) => void
}

export interface OrthogonalProgress {
  /** From 1. */
  readonly round: number
  /** Layers of this round that are done, and layers of the model. */
  readonly layer: number
  readonly layers: number
  /** After the last finished round, as a cosine. */
  readonly similarity?: number
  /** The share of the whole matching that is done. Estimated from the gains of rounds. It never falls. */
  readonly fraction: number
}

/** A round that gains less than this, relatively, is the last. */
const GAIN = 1e-7
const ROUNDS = 100

/** Brings `b` onto `a`. Throws a `Fault` where the network does not allow it. */
export async function orthogonalMatching(
  a: TensorSource,
  b: TensorSource,
  team: ThreadTeam,
  options: OrthogonalOptions = {},
): Promise<OrthogonalResult> {
  const obstacle = orthogonalObstacle(b)
  if (obstacle !== undefined)
    throw fault('no-orthogonal', `symmetry: orthogonal is not possible: ${obstacle}`, 'use symmetry: permutation')
  const layout = orthogonalForm(b)
  const { hidden, units } = layout
  const [left, right] = [createWeights(a, options.budget), createWeights(b, options.budget)]
  const norms = await normsOf(layout, left, right)
  const reader = foldedReader(layout, left, right, norms)
  const depth = layout.layers.length
  const { activations } = options
  if (activations && !activations.alone) for (const matrix of matrices(layout)) await reader.measure(matrix)
  const weight = activations && (activations.alone ? 1 : reader.scale() / activations.roles.size)
  const matching: Matching = {
    ...(activations
      ? {
          activations: await activationSums(activations, weight!, layout, team, options.budget),
          ...(layout.layers[0]!.gate ? { signed: sharedFloats(units * units) } : {}),
        }
      : {}),
    alone: activations?.alone ?? false,
    depth,
    team,
    layout,
    units,
    scores: team.room(units * units, units),
    reader,
    similarityBefore: 0,
    turn: sharedFloats(hidden * hidden),
    sum: sharedFloats(hidden * hidden),
  }
  const { rotation, layers, rounds, similarity } = await alternate(matching, options)
  const scale = matching.reader.scale()
  return {
    maps: { layout, rotation, layers, norms },
    rounds,
    similarityBefore: matching.similarityBefore / scale,
    similarityAfter: similarity / scale,
    ...correlationOf(matching, rotation),
  }
}

/** All matrices, those at the ends first. */
function* matrices({ ends, layers }: Layout): Generator<Matrix> {
  yield* ends
  for (const layer of layers) for (const key of KEYS) if (layer[key]) yield layer[key]
}

function correlationOf(
  { activations, layout: { hidden } }: Matching,
  rotation: Float64Array,
): Pick<OrthogonalResult, 'correlation'> {
  if (!activations || activations.streams === 0) return {}
  const { stream, streams, weight } = activations
  let [before, after] = [0, 0]
  for (let i = 0; i < hidden; i++) before += stream[i * (hidden + 1)]!
  for (let i = 0; i < stream.length; i++) after += stream[i]! * rotation[i]!
  return { correlation: { before: before / weight / streams, after: after / weight / streams } }
}

/** The state of a matching. */
interface Matching {
  readonly team: ThreadTeam
  readonly layout: Layout
  /** Hidden units of a feed-forward. */
  readonly units: number
  /** Similarities of feed-forward units. */
  readonly scores: Float32Array
  readonly reader: FoldedReader
  readonly depth: number
  readonly activations?: ActivationSums
  /** With activations, if there are gates: similarities of units that can change sign. */
  readonly signed?: Float32Array
  /** Whether the activations alone decide. */
  readonly alone: boolean
  /** Σ ⟨A, B⟩ over the matrices that were read so far. */
  similarityBefore: number
  /** The rotation of this round: hidden × hidden. */
  readonly turn: Float32Array
  /** Σ Bᵀ·A over the stream, of which the next rotation is the polar factor. */
  readonly sum: Float32Array
}

/** Matches layers in the current basis of the stream, then finds the best basis for these, until a round gains too little. */
async function alternate(
  matching: Matching,
  { maxIterations = ROUNDS, onProgress }: OrthogonalOptions,
): Promise<{ rotation: Float64Array; layers: readonly LayerMaps[]; rounds: number; similarity: number }> {
  const { reader, depth, layout, turn, sum, activations, alone } = matching
  const { hidden } = layout
  const ends = await vocabularySimilarities(matching)
  for (let i = 0; i < hidden; i++) matching.similarityBefore += ends[i * (hidden + 1)]!
  const total = (weights: Float32Array): Float32Array =>
    !activations ? weights : alone ? activations.stream : weights.map((value, i) => value + activations.stream[i]!)
  let rotation = await bestBasis(matching, total(ends))
  let layers: LayerMaps[] = []
  let [last, similarity] = [0, 0]
  let rounds = 0
  let known = {}
  let fraction = 0
  const converged = convergence(GAIN)
  while (rounds < maxIterations) {
    turn.set(rotation)
    sum.set(ends)
    const next: LayerMaps[] = []
    for (let layer = 0; layer < depth; layer++) {
      const maps = await matchLayer(matching, layer, layers[layer], rounds === 0)
      next.push(maps)
      await addResidual(matching, layer, maps, rounds === 0)
      onProgress?.({ round: rounds + 1, layer: layer + 1, layers: depth, ...known, fraction })
    }
    layers = next
    const all = total(sum)
    rotation = await bestBasis(matching, all)
    let reached = 0
    similarity = 0
    for (let i = 0; i < sum.length; i++) {
      reached += all[i]! * rotation[i]!
      similarity += sum[i]! * rotation[i]!
    }
    const gained = reached - last
    last = reached
    known = { similarity: similarity / reader.scale() }
    // The first round gains everything that there is before it.
    if (rounds > 0) fraction = converged(gained / Math.abs(reached))
    rounds++
    onProgress?.({ round: rounds, layer: depth, layers: depth, ...known, fraction })
    // Activations do not depend on the basis: one round finds what they say.
    if (alone || gained <= GAIN * Math.abs(reached)) break
  }
  return { rotation, layers, rounds, similarity }
}

/** The basis of the stream that gains most: the maximum of Σ sum · rotation over what the network allows. */
async function bestBasis({ team, layout }: Matching, sum: Float32Array): Promise<Float64Array> {
  const { hidden: n, basis, kind } = layout
  if (basis === 'rotated' && kind === 'rms') return team.polar(sum, n)
  const found = new Float64Array(n * n)
  if (basis === 'rotated') return team.polar(keepingOnes(sum, n), n)
  const { columns } =
    basis === 'kept' ? { columns: Int32Array.from({ length: n }, (_, i) => i) } : await team.assign(flipped(sum, n), n)
  for (let i = 0; i < n; i++) found[columns[i]! * n + i] = 1
  return found
}

/** The matrix without what it says of the vector of ones on either side, and with that vector mapped to itself. */
function keepingOnes(sum: Float32Array, n: number): Float64Array {
  const out = Float64Array.from(sum)
  const [rows, columns] = [new Float64Array(n), new Float64Array(n)]
  let [mean, square] = [0, 0]
  for (let i = 0; i < n; i++)
    for (let j = 0; j < n; j++) {
      const value = out[i * n + j]!
      rows[i] = rows[i]! + value / n
      columns[j] = columns[j]! + value / n
      mean += value / n / n
      square += value * value
    }
  const ones = Math.sqrt(square / n) || 1
  for (let i = 0; i < n; i++)
    for (let j = 0; j < n; j++) out[i * n + j] = out[i * n + j]! - rows[i]! - columns[j]! + mean + ones / n
  return out
}

function flipped(matrix: Float32Array, n: number): Float32Array {
  const out = sharedFloats(n * n)
  for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) out[j * n + i] = matrix[i * n + j]!
  return out
}

/** Bᵀ·A of what both models share the order of, such as the vocabulary: these alone give a first basis. */
async function vocabularySimilarities({ team, reader, layout }: Matching): Promise<Float32Array> {
  const { hidden, ends } = layout
  const similarities = sharedFloats(hidden * hidden)
  for (const matrix of ends)
    for await (const { a: x, b: y, rows } of reader.parts(matrix))
      await team.addProduct(productInto(similarities, byColumns(y, rows, hidden), byColumns(x, rows, hidden)))
  return similarities
}

/**
 * Adds to `c` the similarities of A's and B's units at a layer's matrix, with B in A's basis of the stream. `first`: it is the first
 * round, which measures the similarity before.
 */
async function addSimilarities(
  matching: Matching,
  c: Float32Array,
  layer: number,
  key: Key,
  first: boolean,
): Promise<void> {
  const { team, reader, turn, layout } = matching
  const { hidden } = layout
  const matrix = layout.layers[layer]![key]
  if (!matrix) return
  const { a: x, b: y, rows, columns, weight, release } = await reader.whole(matrix)
  if (first) addProducts(matching, x, y)
  const out = reader.take(y.length)
  out.fill(0)
  // Y · rotation, or rotationᵀ · Y for matrices that write to the stream.
  const through = byColumns(turn, hidden, hidden)
  if (writes(key)) {
    await team.addProduct(productInto(out, through, byColumns(y, hidden, columns)))
    await team.addProduct(productInto(c, byColumns(x, hidden, columns), byColumns(out, hidden, columns)))
  } else {
    await team.addProduct(productInto(out, byRows(y, rows, hidden), through))
    await team.addProduct(productInto(c, byRows(x, rows, hidden), byRows(out, rows, hidden)))
    const biases = await reader.biases(matrix)
    if (biases) {
      const { a: p, b: q } = biases
      for (let i = 0; i < rows; i++)
        for (let j = 0; j < rows; j++) c[i * rows + j] = c[i * rows + j]! + weight * p[i]! * q[j]!
    }
  }
  reader.give(out)
  release()
  await team.pause()
}

/** The best order of a layer's feed-forward units and the best maps of its heads. */
async function matchLayer(
  matching: Matching,
  layer: number,
  last: LayerMaps | undefined,
  first: boolean,
): Promise<LayerMaps> {
  const { team, layout, activations, alone } = matching
  const units = await matchUnits(matching, layer, first)
  if (!layout.shape) return { ...units, heads: [] }
  const { kv, q, width } = layout.shape
  const { rotary } = layout
  const gram = async (key: Key, heads: number) => {
    const c = sharedFloats((heads * width) ** 2)
    if (!alone) await addSimilarities(matching, c, layer, key, first)
    return c
  }
  const grams = {
    q: await gram('q', kv * q),
    k: await gram('k', kv),
    v: await gram('v', kv),
    o: await gram('o', kv * q),
  }
  await activations?.addHeads(layer, grams)
  const form = { ...layout.shape, ...(rotary === undefined ? {} : { rotary }) }
  return { ...units, heads: await matchHeads(grams, form, last?.heads, team) }
}

/** The best order of a layer's feed-forward units; with activations also their signs, because up and down can change theirs. */
async function matchUnits(matching: Matching, layer: number, first: boolean): Promise<Omit<LayerMaps, 'heads'>> {
  const { team, scores, signed, units, activations, alone } = matching
  scores.fill(0)
  signed?.fill(0)
  for (const key of alone ? [] : (['gate', 'up', 'down'] as const))
    await addSimilarities(matching, key === 'gate' ? scores : (signed ?? scores), layer, key, first)
  await activations?.addUnits(layer, scores, signed ?? scores)
  if (!signed) return { feedForward: (await team.assign(scores, units)).columns }
  for (let i = 0; i < scores.length; i++) scores[i] = scores[i]! + Math.abs(signed[i]!)
  const feedForward = (await team.assign(scores, units)).columns
  return { feedForward, signs: feedForward.map((from, i) => (signed[i * units + from]! < 0 ? -1 : 1)) }
}

/** Adds Bᵀ·A over the stream's axis to the sum, of matrices that are aligned on their other axis. */
async function addResidual(matching: Matching, layer: number, maps: LayerMaps, first: boolean): Promise<void> {
  const { team, sum, layout, reader, alone } = matching
  const changes = layerChanges(maps, layout.shape)
  for (const key of KEYS) {
    const matrix = layout.layers[layer]![key]
    if (!matrix) continue
    const { a: x, b: y, rows, columns, release } = await reader.whole(matrix)
    // Those of heads that stay as they are, or of all by activations alone, are only compared.
    if (alone || (first && changes[key].length === 0)) addProducts(matching, x, y)
    const [change] = changes[key]
    if (maps.signs && key === 'up') changeSigns(y, columns, 1, maps.feedForward, maps.signs)
    if (maps.signs && key === 'down') changeSigns(y, 1, columns, maps.feedForward, maps.signs)
    // A permutation is only another order of reading.
    const map = change && 'map' in change ? change.map : undefined
    const mapped = !change || map ? y : await applyChanges(y, [rows, columns], [change], team)
    const all = writes(key) ? byRows(mapped, rows, columns) : byColumns(mapped, rows, columns)
    const ordered = map ? { ...all, rests: map.map((place) => all.rests[place]!) } : all
    const other = writes(key) ? byRows(x, rows, columns) : byColumns(x, rows, columns)
    await team.addProduct(productInto(sum, ordered, other))
    release()
    await team.pause()
  }
}

function addProducts(matching: Matching, x: Float32Array, y: Float32Array): void {
  for (let i = 0; i < x.length; i++) matching.similarityBefore += x[i]! * y[i]!
}

/** Multiplies unit order[i] by signs[i]: units lie `stride` apart, and their elements `step` apart. */
function changeSigns(values: Float32Array, stride: number, step: number, order: Int32Array, signs: Int32Array): void {
  const count = values.length / order.length
  for (const [i, unit] of order.entries())
    if (signs[i]! < 0) for (let k = 0; k < count; k++) values[unit * stride + k * step]! *= -1
}
