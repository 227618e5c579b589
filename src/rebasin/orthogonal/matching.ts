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
import { FAMILIES, type Heads, headsOf } from '../infer/transformers.js'
import { sharedFloats, type ThreadTeam } from '../team/team.js'
import { createWeights, type TensorSource, type WeightsBudget } from '../weights.js'
import { folder, type Norms, normsOf } from './folded.js'
import { type HeadMap, layerChanges, matchHeads } from './heads.js'
import { type AxisChange, applyChanges } from './products.js'

export interface LayerMaps {
  /** Unit i of the feed-forward takes the model's unit feedForward[i]. */
  readonly feedForward: Int32Array
  /** By key/value head of the aligned model. */
  readonly heads: readonly HeadMap[]
}

export interface OrthogonalMaps {
  readonly hidden: number
  /** hidden × hidden, row-major: a stream vector x of the model is x · rotation in the aligned one. */
  readonly rotation: Float64Array
  /** The same transposed. */
  readonly turned: Float64Array
  readonly layers: readonly LayerMaps[]
  /** Norm weights of both models by tensor: the aligned model's are `onto`'s. */
  readonly norms: Norms
  readonly shape: Heads
  readonly prefix: string
}

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
  readonly onProgress?: (progress: { readonly round: number; readonly similarity: number }) => void
}

/** A round that gains less than this, relatively, is the last. */
const GAIN = 1e-7
const ROUNDS = 100
const llama = FAMILIES[0]!

/** Why a network does not allow orthogonal maps; undefined where it does. */
export function orthogonalObstacle({ tensors, config }: Pick<TensorSource, 'tensors' | 'config'>): string | undefined {
  const names = [...tensors.keys()]
  const sign = names.find((name) => /layers\.\d+\.self_attn\.q_proj\.weight$/.test(name))
  if (!sign) return 'only transformers of the llama layout, with RMS norms before each sublayer, allow orthogonal maps'
  if (/gemma/.test(String(config?.model_type ?? ''))) return 'gemma scales its embeddings and norms in its own way'
  if (!names.includes('lm_head.weight'))
    return 'tied embeddings read and write one tensor: the final norm cannot be folded into it'
  const heads = headsOf(llama, tensors, config)
  if (typeof heads === 'string') return heads
  const prefix = sign.slice(0, sign.search(/layers\.\d+/))
  const known =
    /^(self_attn\.([qkv]_proj\.(weight|bias)|o_proj\.(weight|bias)|rotary_emb\.inv_freq)|mlp\.((gate|up)_proj\.(weight|bias)|down_proj\.(weight|bias))|(input|post_attention)_layernorm\.weight)$/
  for (const name of names) {
    const inside = name.startsWith(`${prefix}layers.`)
      ? name.slice(prefix.length).replace(/^layers\.\d+\./, '')
      : undefined
    if (
      inside !== undefined
        ? known.test(inside)
        : [`${prefix}embed_tokens.weight`, `${prefix}norm.weight`, 'lm_head.weight', 'lm_head.bias'].includes(name)
    )
      continue
    return `tensor ${name} is not one whose basis can be changed`
  }
  return undefined
}

/** A layer's matrices, whether they write to the stream, and the norm that stands before those that read it. */
const MATRICES = {
  q: { name: 'self_attn.q_proj', norm: 'input_layernorm.weight' },
  k: { name: 'self_attn.k_proj', norm: 'input_layernorm.weight' },
  v: { name: 'self_attn.v_proj', norm: 'input_layernorm.weight' },
  o: { name: 'self_attn.o_proj', norm: undefined },
  gate: { name: 'mlp.gate_proj', norm: 'post_attention_layernorm.weight' },
  up: { name: 'mlp.up_proj', norm: 'post_attention_layernorm.weight' },
  down: { name: 'mlp.down_proj', norm: undefined },
} as const
type Key = keyof typeof MATRICES
const KEYS = Object.keys(MATRICES) as Key[]
const writes = (key: Key): boolean => MATRICES[key].norm === undefined

/** What names and shapes of a network without an obstacle say of its maps. */
export function orthogonalForm({
  tensors,
  config,
}: Pick<TensorSource, 'tensors' | 'config'>): Pick<OrthogonalMaps, 'shape' | 'prefix' | 'hidden'> {
  const prefix = [...tensors.keys()]
    .find((name) => name.endsWith('embed_tokens.weight'))!
    .slice(0, -'embed_tokens.weight'.length)
  return {
    shape: headsOf(llama, tensors, config) as Heads,
    prefix,
    hidden: tensors.get(`${prefix}embed_tokens.weight`)!.shape[1]!,
  }
}

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
  const { shape, prefix, hidden } = orthogonalForm(b)
  const [left, right] = [createWeights(a, options.budget), createWeights(b, options.budget)]
  const norms = await normsOf(b, left, right)
  let depth = 0
  while (b.tensors.has(`${prefix}layers.${depth}.input_layernorm.weight`)) depth++
  const at = (layer: number, name: string) => `${prefix}layers.${layer}.${name}`
  const units = b.tensors.get(at(0, 'mlp.gate_proj.weight'))!.shape[0]!
  const scores = team.room(units * units, units)
  const reader = folder(left, right, norms)
  const load = (layer: number, key: Key) => {
    const { name, norm } = MATRICES[key]
    return reader.whole(at(layer, `${name}.weight`), norm && at(layer, norm))
  }

  let layers: LayerMaps[] = []
  let similarity = 0
  let before = 0
  let rounds = 0
  // The vocabulary is common to both models: embeddings and head alone give a first basis.
  const ends = sharedFloats(hidden * hidden)
  for (const [name, norm] of [
    [`${prefix}embed_tokens.weight`, undefined],
    ['lm_head.weight', `${prefix}norm.weight`],
  ] as const)
    for await (const { a: x, b: y, rows } of reader.parts(name, norm))
      await team.addProduct(productInto(ends, byColumns(y, rows, hidden), byColumns(x, rows, hidden)))
  for (let i = 0; i < hidden; i++) before += ends[i * (hidden + 1)]!
  let rotation = await team.polar(ends, hidden)
  const turn = sharedFloats(hidden * hidden)
  const sum = sharedFloats(hidden * hidden)

  for (; rounds < (options.maxIterations ?? ROUNDS); rounds++) {
    turn.set(rotation)
    sum.set(ends)
    const next: LayerMaps[] = []
    for (let layer = 0; layer < depth; layer++) {
      const maps = await matchLayer(layer, layers[layer], rounds === 0)
      next.push(maps)
      await addResidual(layer, maps)
    }
    layers = next
    rotation = await team.polar(sum, hidden)
    let reached = 0
    for (let i = 0; i < sum.length; i++) reached += sum[i]! * rotation[i]!
    const gained = reached - similarity
    similarity = reached
    options.onProgress?.({ round: rounds + 1, similarity: reached / reader.scale() })
    if (gained <= GAIN * Math.abs(reached)) {
      rounds++
      break
    }
  }
  const scale = reader.scale()
  return {
    maps: { hidden, rotation, turned: transposed(rotation, hidden), layers, norms, shape, prefix },
    rounds,
    similarityBefore: before / scale,
    similarityAfter: similarity / scale,
  }

  /** Adds to `c` the similarities of A's and B's units at a layer's matrix, B turned to A's basis of the stream. */
  async function addSimilarities(c: Float32Array, layer: number, key: Key, first: boolean): Promise<void> {
    const { a: x, b: y, rows, columns, weight, release } = await load(layer, key)
    if (first) for (let i = 0; i < x.length; i++) before += x[i]! * y[i]!
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
      const bias = at(layer, `${MATRICES[key].name}.bias`)
      if (b.tensors.has(bias)) {
        const [p, q] = [await left.get(bias), await right.get(bias)]
        for (let i = 0; i < rows; i++)
          for (let j = 0; j < rows; j++) c[i * rows + j] = c[i * rows + j]! + weight * p[i]! * q[j]!
      }
    }
    reader.give(out)
    release()
    await team.pause()
  }

  async function matchLayer(layer: number, last: LayerMaps | undefined, first: boolean): Promise<LayerMaps> {
    scores.fill(0)
    for (const key of ['gate', 'up', 'down'] as const) await addSimilarities(scores, layer, key, first)
    const feedForward = (await team.assign(scores, units)).columns
    const gram = async (key: Key, heads: number) => {
      const c = sharedFloats((heads * shape.width) ** 2)
      await addSimilarities(c, layer, key, first)
      return c
    }
    const { kv, q } = shape
    const grams = {
      q: await gram('q', kv * q),
      k: await gram('k', kv),
      v: await gram('v', kv),
      o: await gram('o', kv * q),
    }
    return { feedForward, heads: await matchHeads(grams, shape, last?.heads, team) }
  }

  /** Adds Bᵀ·A over the stream's axis to the sum, of matrices that are aligned on their other axis. */
  async function addResidual(layer: number, maps: LayerMaps): Promise<void> {
    const changes = layerChanges(maps, shape)
    for (const key of KEYS) {
      const { a: x, b: y, rows, columns, release } = await load(layer, key)
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
}

/** Sizes that decide what a matching takes; of matrices by layer the side that is not the stream's. */
export function orthogonalSizes({ tensors, config }: Pick<TensorSource, 'tensors' | 'config'>): {
  readonly hidden: number
  readonly units: number
  readonly matrices: readonly { readonly side: number }[]
  /** Sides of the similarities of heads, of one layer. */
  readonly squares: readonly number[]
} {
  const { kv, q, width } = headsOf(llama, tensors, config) as Heads
  const of = (end: string) =>
    [...tensors].filter(([name]) => name.endsWith(`${end}.weight`)).map(([, { shape }]) => shape)
  const hidden = of('embed_tokens')[0]![1]!
  const matrices = KEYS.flatMap((key) =>
    of(MATRICES[key].name).map(([rows, columns]) => ({ side: writes(key) ? columns! : rows! })),
  )
  const heads = [kv * q * width, kv * width]
  return { hidden, units: of('mlp.gate_proj')[0]![0]!, matrices, squares: [...heads, ...heads] }
}

/** The changes that make a tensor of the aligned model from the model's own, in the order they are applied. */
export function orthogonalChanges(maps: OrthogonalMaps, name: string, shape: readonly number[]): AxisChange[] {
  const { hidden, turned, layers, norms, prefix } = maps
  const norm = norms[name]
  if (norm) {
    // The aligned model has the norms of the model it is aligned onto: value · (onto / value), exact but for rounding, except at zero.
    return [
      {
        axis: 0,
        blocks: [{ from: 0, size: hidden }],
        before: Float64Array.from(norm.model, (x) => (x === 0 ? 0 : 1 / x)),
        after: Float64Array.from(norm.onto),
      },
    ]
  }
  const stream = (
    axis: number,
    weights?: { readonly model: Float32Array; readonly onto: Float32Array },
  ): AxisChange => ({
    axis,
    blocks: [{ from: 0, size: hidden, matrix: turned }],
    ...(weights
      ? { before: Float64Array.from(weights.model), after: Float64Array.from(weights.onto, (x) => 1 / x) }
      : {}),
  })
  if (name === `${prefix}embed_tokens.weight`) return [stream(1)]
  if (name === 'lm_head.weight') return [stream(1, norms[`${prefix}norm.weight`])]
  const found = /^layers\.(\d+)\.(?:self_attn|mlp)\.(q|k|v|o|gate|up|down)_proj\.(weight|bias)$/.exec(
    name.slice(prefix.length),
  )
  if (!found || !name.startsWith(prefix)) return []
  const layer = Number(found[1])
  const key = found[2] as Key
  const own = layerChanges(layers[layer]!, maps.shape)[key]
  if (shape.length === 1) return [writes(key) ? stream(0) : own]
  if (writes(key)) return [own, stream(0)]
  const before = key === 'gate' || key === 'up' ? 'post_attention_layernorm' : 'input_layernorm'
  return [own, stream(1, norms[`${prefix}layers.${layer}.${before}.weight`])]
}

export function transposed(matrix: Float64Array, n: number): Float64Array {
  const out = new Float64Array(n * n)
  for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) out[j * n + i] = matrix[i * n + j]!
  return out
}
