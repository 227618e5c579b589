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
import { transposed } from './changes.js'
import { type FoldedReader, foldedReader, normsOf } from './folded.js'
import {
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
import { applyChanges } from './products.js'

export interface OrthogonalResult {
  readonly maps: OrthogonalMaps
  readonly rounds: number
  /** Σ ⟨A, B'⟩ over the folded matrices, before (identity) and after, and divided by the norms. */
  readonly similarityBefore: number
  readonly similarityAfter: number
}

export interface OrthogonalOptions {
  readonly maxIterations?: number
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
  const matching: Matching = {
    team,
    left,
    right,
    form,
    units,
    scores: team.room(units * units, units),
    reader: foldedReader(left, right, norms),
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
  }
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
  const { team, reader, right, form, turn, sum } = matching
  const { prefix, hidden } = form
  let depth = 0
  while (right.source.tensors.has(`${prefix}layers.${depth}.input_layernorm.weight`)) depth++
  const ends = await vocabularySimilarities(matching)
  for (let i = 0; i < hidden; i++) matching.similarityBefore += ends[i * (hidden + 1)]!
  let rotation = await team.polar(ends, hidden)
  let layers: LayerMaps[] = []
  let similarity = 0
  let rounds = 0
  let known = {}
  let fraction = 0
  const converged = convergence(GAIN)
  for (; rounds < maxIterations; rounds++) {
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
    rotation = await team.polar(sum, hidden)
    let reached = 0
    for (let i = 0; i < sum.length; i++) reached += sum[i]! * rotation[i]!
    const gained = reached - similarity
    similarity = reached
    known = { similarity: reached / reader.scale() }
    // The first round gains everything that there is before it.
    if (rounds > 0) fraction = converged(gained / Math.abs(reached))
    onProgress?.({ round: rounds + 1, layer: depth, layers: depth, ...known, fraction })
    if (gained <= GAIN * Math.abs(reached)) {
      rounds++
      break
    }
  }
  return { rotation, layers, rounds, similarity }
}

/** Bᵀ·A of the embeddings and the head. Both models share the vocabulary, so these alone give a first basis. */
async function vocabularySimilarities({ team, reader, form: { prefix, hidden } }: Matching): Promise<Float32Array> {
  const ends = sharedFloats(hidden * hidden)
  for (const [name, norm] of [
    [`${prefix}embed_tokens.weight`, undefined],
    ['lm_head.weight', `${prefix}norm.weight`],
  ] as const)
    for await (const { a: x, b: y, rows } of reader.parts(name, norm))
      await team.addProduct(productInto(ends, byColumns(y, rows, hidden), byColumns(x, rows, hidden)))
  return ends
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
  if (first) for (let i = 0; i < x.length; i++) matching.similarityBefore += x[i]! * y[i]!
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
  const { team, scores, units, form } = matching
  scores.fill(0)
  for (const key of ['gate', 'up', 'down'] as const) await addSimilarities(matching, scores, layer, key, first)
  const feedForward = (await team.assign(scores, units)).columns
  const { kv, q, width } = form.shape
  const gram = async (key: Key, heads: number) => {
    const c = sharedFloats((heads * width) ** 2)
    await addSimilarities(matching, c, layer, key, first)
    return c
  }
  const grams = {
    q: await gram('q', kv * q),
    k: await gram('k', kv),
    v: await gram('v', kv),
    o: await gram('o', kv * q),
  }
  return { feedForward, heads: await matchHeads(grams, form.shape, last?.heads, team) }
}

/** Adds Bᵀ·A over the stream's axis to the sum, of matrices that are aligned on their other axis. */
async function addResidual(matching: Matching, layer: number, maps: LayerMaps): Promise<void> {
  const { team, sum, form } = matching
  const changes = layerChanges(maps, form.shape)
  for (const key of KEYS) {
    const { a: x, b: y, rows, columns, release } = await load(matching, layer, key)
    const change = changes[key]
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
