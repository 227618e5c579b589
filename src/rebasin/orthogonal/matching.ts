/**
 * Alignment by orthogonal maps, for transformers that normalise by the root mean square before each sublayer. With the norms'
 * weights folded into the matrices that follow them, such a network computes the same in any orthonormal basis of its
 * residual stream; a value head in any basis of its own; a query/key head up to one rotation per rotary pair; the hidden
 * units of a feed-forward in any order. Alternating maximisation of Σ ⟨A, B'⟩ over folded matrices, each matrix once and divided by
 * the root of both models' norms of it, so that the large ones do not decide alone (without that the midpoint is worse).
 * The result is expressed with A's norm weights (fold, rotate, divide): the aligned B has A's norms, and computes what B did.
 */
import { fault } from '../../core/diagnostics.js'
import { byColumns, byRows, productInto } from '../../kernels/linalg.js'
import { convergence } from '../estimate.js'
import { sharedFloats, type ThreadTeam } from '../team/team.js'
import { createWeights, type TensorSource, type Weights, type WeightsBudget } from '../weights.js'
import { type ActivationSums, activationSums, type OrthogonalActivations } from './activations.js'
import { transposed } from './changes.js'
import { type FoldedReader, foldedReader, normsOf } from './folded.js'
import {
  depthOf,
  KEYS,
  type Key,
  type LayerMaps,
  MATRICES,
  type OrthogonalMaps,
  orthogonalForm,
  orthogonalObstacle,
  writes,
} from './form.js'
import { layerChanges, matchHeads } from './heads.js'
import { type AxisChange, applyChanges } from './products.js'

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
  const form = orthogonalForm(b)
  const { hidden, prefix } = form
  const [left, right] = [createWeights(a, options.budget), createWeights(b, options.budget)]
  const norms = await normsOf(b, left, right)
  const units = b.tensors.get(`${prefix}layers.0.mlp.gate_proj.weight`)!.shape[0]!
  const reader = foldedReader(left, right, norms)
  const depth = depthOf(b, prefix)
  const { activations } = options
  if (activations && !activations.alone)
    for (const [name, norm] of matrices(form, depth)) await reader.measure(name, norm)
  const weight = activations && (activations.alone ? 1 : reader.scale() / activations.roles.size)
  const matching: Matching = {
    ...(activations
      ? {
          activations: await activationSums(activations, weight!, hidden, team, options.budget),
          signed: sharedFloats(units * units),
        }
      : {}),
    alone: activations?.alone ?? false,
    depth,
    team,
    left,
    right,
    form,
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
    maps: { ...form, rotation, turned: transposed(rotation, hidden), layers, norms },
    rounds,
    similarityBefore: matching.similarityBefore / scale,
    similarityAfter: similarity / scale,
    ...correlationOf(matching, rotation),
  }
}

/** The matrices at the ends, which share the vocabulary, and the norms before them. */
const ends = (prefix: string) =>
  [
    [`${prefix}embed_tokens.weight`, undefined],
    ['lm_head.weight', `${prefix}norm.weight`],
  ] as const

/** All matrices with the norms before them. */
function* matrices(
  { prefix }: { readonly prefix: string },
  depth: number,
): Generator<readonly [string, string | undefined]> {
  yield* ends(prefix)
  for (let layer = 0; layer < depth; layer++)
    for (const key of KEYS) {
      const { name, norm } = MATRICES[key]
      yield [`${prefix}layers.${layer}.${name}.weight`, norm && `${prefix}layers.${layer}.${norm}`]
    }
}

function correlationOf(
  { activations, form: { hidden } }: Matching,
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
  readonly left: Weights
  readonly right: Weights
  readonly form: ReturnType<typeof orthogonalForm>
  /** Hidden units of a feed-forward. */
  readonly units: number
  /** Similarities of feed-forward units. */
  readonly scores: Float32Array
  readonly reader: FoldedReader
  readonly depth: number
  readonly activations?: ActivationSums
  /** With activations: similarities of units that can change sign. */
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
  const { team, reader, depth, form, turn, sum, activations, alone } = matching
  const { hidden } = form
  const ends = await vocabularySimilarities(matching)
  for (let i = 0; i < hidden; i++) matching.similarityBefore += ends[i * (hidden + 1)]!
  const total = (weights: Float32Array): Float32Array =>
    !activations ? weights : alone ? activations.stream : weights.map((value, i) => value + activations.stream[i]!)
  let rotation = await team.polar(total(ends), hidden)
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
      await addResidual(matching, layer, maps)
      onProgress?.({ round: rounds + 1, layer: layer + 1, layers: depth, ...known, fraction })
    }
    layers = next
    const all = total(sum)
    rotation = await team.polar(all, hidden)
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
    onProgress?.({ round: ++rounds, layer: depth, layers: depth, ...known, fraction })
    // Activations do not depend on the basis: one round finds what they say.
    if (alone || gained <= GAIN * Math.abs(reached)) break
  }
  return { rotation, layers, rounds, similarity }
}

/** Bᵀ·A of the embeddings and the head. Both models share the vocabulary, so these alone give a first basis. */
async function vocabularySimilarities({ team, reader, form: { prefix, hidden } }: Matching): Promise<Float32Array> {
  const similarities = sharedFloats(hidden * hidden)
  for (const [name, norm] of ends(prefix))
    for await (const { a: x, b: y, rows } of reader.parts(name, norm))
      await team.addProduct(productInto(similarities, byColumns(y, rows, hidden), byColumns(x, rows, hidden)))
  return similarities
}

const nameIn = ({ form: { prefix } }: Matching, layer: number, name: string) => `${prefix}layers.${layer}.${name}`

const load = (matching: Matching, layer: number, key: Key) => {
  const { name, norm } = MATRICES[key]
  return matching.reader.whole(nameIn(matching, layer, `${name}.weight`), norm && nameIn(matching, layer, norm))
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
  const { team, left, right, reader, turn, form } = matching
  const { hidden } = form
  const { a: x, b: y, rows, columns, weight, release } = await load(matching, layer, key)
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
    const bias = nameIn(matching, layer, `${MATRICES[key].name}.bias`)
    if (right.source.tensors.has(bias)) {
      const [p, q] = [await left.get(bias), await right.get(bias)]
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
  const { team, form, activations, alone } = matching
  const { kv, q, width } = form.shape
  const gram = async (key: Key, heads: number) => {
    const c = sharedFloats((heads * width) ** 2)
    if (!alone) await addSimilarities(matching, c, layer, key, first)
    return c
  }
  const units = await matchUnits(matching, layer, first)
  const grams = {
    q: await gram('q', kv * q),
    k: await gram('k', kv),
    v: await gram('v', kv),
    o: await gram('o', kv * q),
  }
  await activations?.addHeads(layer, grams)
  return { ...units, heads: await matchHeads(grams, form.shape, last?.heads, team) }
}

/** The best order of a layer's feed-forward units; with activations also their signs, because up and down can change theirs. */
async function matchUnits(matching: Matching, layer: number, first: boolean): Promise<Omit<LayerMaps, 'heads'>> {
  const { team, scores, signed, units, activations, alone } = matching
  scores.fill(0)
  signed?.fill(0)
  for (const key of alone ? [] : (['gate', 'up', 'down'] as const))
    await addSimilarities(matching, key === 'gate' ? scores : (signed ?? scores), layer, key, first)
  if (!activations || !signed) return { feedForward: (await team.assign(scores, units)).columns }
  await activations.addUnits(layer, scores, signed)
  for (let i = 0; i < scores.length; i++) scores[i] = scores[i]! + Math.abs(signed[i]!)
  const feedForward = (await team.assign(scores, units)).columns
  return { feedForward, signs: feedForward.map((from, i) => (signed[i * units + from]! < 0 ? -1 : 1)) }
}

/** Adds Bᵀ·A over the stream's axis to the sum, of matrices that are aligned on their other axis. */
async function addResidual(matching: Matching, layer: number, maps: LayerMaps): Promise<void> {
  const { team, sum, form, alone } = matching
  const changes = layerChanges(maps, form.shape)
  for (const key of KEYS) {
    const { a: x, b: y, rows, columns, release } = await load(matching, layer, key)
    // By activations alone, the weights are only compared.
    if (alone) addProducts(matching, x, y)
    const [change] = changes[key] as readonly [AxisChange]
    if (maps.signs && key === 'up') changeSigns(y, columns, 1, maps.feedForward, maps.signs)
    if (maps.signs && key === 'down') changeSigns(y, 1, columns, maps.feedForward, maps.signs)
    // A permutation is only another order of reading.
    const mapped = 'map' in change ? y : await applyChanges(y, [rows, columns], [change], team)
    const all = writes(key) ? byRows(mapped, rows, columns) : byColumns(mapped, rows, columns)
    const ordered = 'map' in change ? { ...all, rests: change.map.map((place) => all.rests[place]!) } : all
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
