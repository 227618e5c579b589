/**
 * Alignment by orthogonal maps, for transformers that normalise by the root mean square before each sublayer. With the norms'
 * weights folded into the matrices that follow them, such a network computes the same in any orthonormal basis of its
 * residual stream; a value head in any basis of its own; a query/key head up to one rotation per rotary pair; the hidden
 * units of a feed-forward in any order. Alternating maximisation of Σ ⟨A, B'⟩ over folded matrices, each matrix once and divided by
 * the root of both models' norms of it, so that the large ones do not decide alone (without that the midpoint is worse).
 * The result is expressed with A's norm weights (fold, rotate, divide): the aligned B has A's norms, and computes what B did.
 */
import { fault } from '../core/diagnostics.js'
import { type HeadMap, layerChanges, matchHeads } from './heads.js'
import { FAMILIES, type Heads, headsOf } from './infer/transformers.js'
import { type Pool, sharedFloats } from './pool.js'
import { type AxisChange, applyChanges } from './products.js'
import { createWeights, type TensorSource } from './weights.js'

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
  readonly layers: readonly LayerMaps[]
  /** Norm weights of both models by tensor: the aligned model's are `onto`'s. */
  readonly norms: Readonly<Record<string, { readonly model: Float32Array; readonly onto: Float32Array }>>
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

interface Folded {
  readonly a: Float32Array
  readonly b: Float32Array
  readonly rows: number
  readonly columns: number
  /** What the product of both was multiplied by. */
  readonly weight: number
}

/** Brings `b` onto `a`. Throws a `Fault` where the network does not allow it. */
export async function orthogonalMatching(
  a: TensorSource,
  b: TensorSource,
  pool: Pool,
  options: OrthogonalOptions = {},
): Promise<OrthogonalResult> {
  const obstacle = orthogonalObstacle(b)
  if (obstacle !== undefined)
    throw fault('no-orthogonal', `symmetry: orthogonal is not possible: ${obstacle}`, 'use symmetry: permutation')
  const shape = headsOf(llama, b.tensors, b.config) as Heads
  const prefix = [...b.tensors.keys()]
    .find((name) => name.endsWith('embed_tokens.weight'))!
    .slice(0, -'embed_tokens.weight'.length)
  const hidden = b.tensors.get(`${prefix}embed_tokens.weight`)!.shape[1]!
  const [left, right] = [createWeights(a), createWeights(b)]
  const norms: Record<string, { model: Float32Array; onto: Float32Array }> = {}
  for (const name of b.tensors.keys()) {
    if (!name.endsWith('norm.weight')) continue
    norms[name] = { model: (await right.get(name)).slice(), onto: (await left.get(name)).slice() }
    const scale = norms[name]!.onto.reduce((top, value) => Math.max(top, Math.abs(value)), 0)
    if (norms[name]!.onto.some((value) => !(Math.abs(value) > scale * 1e-6)))
      throw fault(
        'no-orthogonal',
        `symmetry: orthogonal is not possible: ${name} of the model to align onto has a weight of zero`,
        'use symmetry: permutation',
      )
  }
  let depth = 0
  while (b.tensors.has(`${prefix}layers.${depth}.input_layernorm.weight`)) depth++

  const folded = async (name: string, norm?: string): Promise<Folded> => {
    const [rows, columns] = b.tensors.get(name)!.shape as [number, number]
    const fold = (values: Float32Array, scale: Float32Array | undefined) => {
      const out = sharedFloats(values.length)
      for (let i = 0; i < values.length; i++) out[i] = values[i]! * (scale ? scale[i % columns]! : 1)
      const weight = 1 / Math.sqrt(Math.sqrt(out.reduce((sum, value) => sum + value * value, 0)) || 1)
      for (let i = 0; i < out.length; i++) out[i] = out[i]! * weight
      return { out, weight }
    }
    const weights = norm === undefined ? undefined : norms[norm]
    const x = fold(await left.get(name), weights?.onto)
    const y = fold(await right.get(name), weights?.model)
    return { a: x.out, b: y.out, rows, columns, weight: x.weight * y.weight }
  }
  const at = (layer: number, name: string) => `${prefix}layers.${layer}.${name}`
  const load = async (layer: number) => {
    const input = (name: string, norm: string) => folded(at(layer, `${name}.weight`), at(layer, norm))
    return {
      q: await input('self_attn.q_proj', 'input_layernorm.weight'),
      k: await input('self_attn.k_proj', 'input_layernorm.weight'),
      v: await input('self_attn.v_proj', 'input_layernorm.weight'),
      gate: await input('mlp.gate_proj', 'post_attention_layernorm.weight'),
      up: await input('mlp.up_proj', 'post_attention_layernorm.weight'),
      o: await folded(at(layer, 'self_attn.o_proj.weight')),
      down: await folded(at(layer, 'mlp.down_proj.weight')),
    }
  }
  const embedding = await folded(`${prefix}embed_tokens.weight`)
  const head = await folded('lm_head.weight', `${prefix}norm.weight`)

  let layers: LayerMaps[] = []
  let similarity = 0
  let before = 0
  let rounds = 0
  const square = { a: 0, b: 0 }
  // The vocabulary is common to both models: embeddings and head alone give a first basis.
  const ends = sharedFloats(hidden * hidden)
  for (const { a: x, b: y, rows } of [embedding, head])
    await pool.addProduct({ c: ends, x: y, y: x, m: hidden, n: hidden, k: rows, layout: 'columns' })
  before += trace(ends, hidden)
  let rotation = pool.linalg.polar(Float64Array.from(ends), hidden)
  for (const { a: x, b: y } of [embedding, head]) addSquares(square, x, y)

  for (; rounds < (options.maxIterations ?? ROUNDS); rounds++) {
    const turn = Float32Array.from(rotation)
    const sum = sharedFloats(hidden * hidden)
    sum.set(ends)
    const next: LayerMaps[] = []
    for (let layer = 0; layer < depth; layer++) {
      const matrices = await load(layer)
      if (rounds === 0)
        for (const { a: x, b: y } of Object.values(matrices)) {
          addSquares(square, x, y)
          for (let i = 0; i < x.length; i++) before += x[i]! * y[i]!
        }
      const maps = await matchLayer(matrices, turn, layer, layers[layer])
      next.push(maps)
      await addResidual(sum, matrices, maps)
    }
    layers = next
    const total = Float64Array.from(sum)
    rotation = pool.linalg.polar(total, hidden)
    let reached = 0
    for (let i = 0; i < total.length; i++) reached += total[i]! * rotation[i]!
    const gained = reached - similarity
    similarity = reached
    options.onProgress?.({ round: rounds + 1, similarity: reached / Math.sqrt(square.a * square.b) })
    if (gained <= GAIN * Math.abs(reached)) {
      rounds++
      break
    }
  }
  const scale = Math.sqrt(square.a * square.b) || 1
  return {
    maps: { hidden, rotation, layers, norms, shape, prefix },
    rounds,
    similarityBefore: before / scale,
    similarityAfter: similarity / scale,
  }

  /** Y[rows × hidden] · rotation, or rotationᵀ · Y for matrices that write to the stream. */
  async function turned(
    values: Float32Array,
    rows: number,
    turn: Float32Array,
    writes: boolean,
  ): Promise<Float32Array> {
    const out = sharedFloats(values.length)
    const shared = sharedFloats(turn.length)
    if (writes) {
      // (hidden × in): out[i, p] = Σ_j R[j, i] · y[j, p]
      shared.set(turn)
      await pool.addProduct({
        c: out,
        x: shared,
        y: values,
        m: hidden,
        n: values.length / hidden,
        k: hidden,
        layout: 'columns',
      })
    } else {
      for (let i = 0; i < hidden; i++) for (let j = 0; j < hidden; j++) shared[j * hidden + i] = turn[i * hidden + j]!
      await pool.addProduct({ c: out, x: values, y: shared, m: rows, n: hidden, k: hidden, layout: 'rows' })
    }
    return out
  }

  async function matchLayer(
    m: Awaited<ReturnType<typeof load>>,
    turn: Float32Array,
    layer: number,
    last: LayerMaps | undefined,
  ): Promise<LayerMaps> {
    const gram = async (
      list: readonly { readonly of: Folded; readonly bias?: string; readonly writes?: boolean }[],
    ) => {
      const first = list[0]!.of
      const size = list[0]!.writes ? first.columns : first.rows
      const c = sharedFloats(size * size)
      for (const { of, bias, writes } of list) {
        const y = await turned(of.b, of.rows, turn, writes ?? false)
        await pool.addProduct({ c, x: of.a, y, m: size, n: size, k: hidden, layout: writes ? 'columns' : 'rows' })
        const name = bias && at(layer, bias)
        if (name && b.tensors.has(name)) {
          const [x, z] = [await left.get(name), await right.get(name)]
          for (let i = 0; i < size; i++)
            for (let j = 0; j < size; j++) c[i * size + j] = c[i * size + j]! + of.weight * x[i]! * z[j]!
        }
      }
      return c
    }
    const units = await gram([
      { of: m.gate, bias: 'mlp.gate_proj.bias' },
      { of: m.up, bias: 'mlp.up_proj.bias' },
      { of: m.down, writes: true },
    ])
    const feedForward = (await pool.assign(units, m.gate.rows)).columns
    const heads = matchHeads(
      {
        q: await gram([{ of: m.q, bias: 'self_attn.q_proj.bias' }]),
        k: await gram([{ of: m.k, bias: 'self_attn.k_proj.bias' }]),
        v: await gram([{ of: m.v, bias: 'self_attn.v_proj.bias' }]),
        o: await gram([{ of: m.o, writes: true }]),
      },
      shape,
      last?.heads,
      pool.linalg,
    )
    return { feedForward, heads }
  }

  /** Adds Bᵀ·A over the stream's axis, of matrices that are aligned on their other axis. */
  async function addResidual(sum: Float32Array, m: Awaited<ReturnType<typeof load>>, maps: LayerMaps): Promise<void> {
    const changes = layerChanges(maps, shape)
    for (const [key, { a: x, b: y, rows, columns }] of Object.entries(m)) {
      const writes = key === 'o' || key === 'down'
      const mapped = sharedFloats(y.length)
      mapped.set(applyChanges(y, [rows, columns], [changes[key as keyof typeof changes]]))
      await pool.addProduct({
        c: sum,
        x: mapped,
        y: x,
        m: hidden,
        n: hidden,
        k: writes ? columns : rows,
        layout: writes ? 'rows' : 'columns',
      })
    }
  }
}

/** The changes that make a tensor of the aligned model from the model's own, in the order they are applied. */
export function orthogonalChanges(maps: OrthogonalMaps, name: string, shape: readonly number[]): AxisChange[] {
  const { hidden, rotation, layers, norms, prefix } = maps
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
    blocks: [{ from: 0, size: hidden, matrix: transposed(rotation, hidden) }],
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
  const key = found[2] as 'q' | 'k' | 'v' | 'o' | 'gate' | 'up' | 'down'
  const own = layerChanges(layers[layer]!, maps.shape)[key]
  const writes = key === 'o' || key === 'down'
  if (shape.length === 1) return [writes ? stream(0) : own]
  if (writes) return [own, stream(0)]
  const before = key === 'gate' || key === 'up' ? 'post_attention_layernorm' : 'input_layernorm'
  return [own, stream(1, norms[`${prefix}layers.${layer}.${before}.weight`])]
}

function transposed(matrix: Float64Array, n: number): Float64Array {
  return matrix.map((_, i) => matrix[(i % n) * n + Math.floor(i / n)]!)
}

const trace = (matrix: Float32Array, n: number): number => {
  let sum = 0
  for (let i = 0; i < n; i++) sum += matrix[i * n + i]!
  return sum
}

function addSquares(sums: { a: number; b: number }, a: Float32Array, b: Float32Array): void {
  for (let i = 0; i < a.length; i++) {
    sums.a += a[i]! * a[i]!
    sums.b += b[i]! * b[i]!
  }
}
