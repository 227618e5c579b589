/** Orthogonal maps as changes of single tensors. */
import { type Key, type OrthogonalMaps, writes } from './form.js'
import { layerChanges } from './heads.js'
import type { AxisChange } from './products.js'

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
  if (shape.length === 1) return writes(key) ? [stream(0)] : [...own]
  if (writes(key)) return [...own, stream(0)]
  const before = key === 'gate' || key === 'up' ? 'post_attention_layernorm' : 'input_layernorm'
  return [...own, stream(1, norms[`${prefix}layers.${layer}.${before}.weight`])]
}

export function transposed(matrix: Float64Array, n: number): Float64Array {
  const out = new Float64Array(n * n)
  for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) out[j * n + i] = matrix[i * n + j]!
  return out
}
