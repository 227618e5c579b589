/** Forward passes of small transformers, written as their papers and reference layouts have them: float64 throughout. */
import { linear } from './forward.js'
import type { Model } from './load.js'

type Vector = Float64Array
type Rows = Vector[]

export const add = (x: Vector, y: ArrayLike<number>): Vector => x.map((value, i) => value + y[i]!)
const gelu = (x: Vector): Vector => x.map((v) => 0.5 * v * (1 + Math.tanh(0.7978845608 * (v + 0.044715 * v ** 3))))
const values = (model: Model, name: string) => model.get(name)!.values
const row = (model: Model, name: string, index: number): Vector => {
  const { values, shape } = model.get(name)!
  const width = shape.at(-1)!
  return Float64Array.from(values.subarray(index * width, (index + 1) * width))
}

export function layerNorm(model: Model, name: string, x: Vector): Vector {
  const mean = x.reduce((sum, value) => sum + value, 0) / x.length
  const variance = x.reduce((sum, value) => sum + (value - mean) ** 2, 0) / x.length
  const [weight, bias] = [values(model, `${name}.weight`), values(model, `${name}.bias`)]
  return x.map((value, i) => ((value - mean) / Math.sqrt(variance + 1e-5)) * weight[i]! + bias[i]!)
}

/** Attention of all heads over whole rows; `bias` is added to the score of query i and key j of a head. */
export function attend(
  [queries, keys, contents]: readonly [Rows, Rows, Rows],
  heads: number,
  bias: (head: number, i: number, j: number) => number = () => 0,
  scale = true,
): Rows {
  const width = queries[0]!.length / heads
  return queries.map((query, i) => {
    const out = new Float64Array(query.length)
    for (let head = 0; head < heads; head++) {
      const at = head * width
      const scores = keys.map((key, j) => {
        let sum = 0
        for (let d = at; d < at + width; d++) sum += query[d]! * key[d]!
        return sum / (scale ? Math.sqrt(width) : 1) + bias(head, i, j)
      })
      const peak = Math.max(...scores)
      const weights = scores.map((score) => Math.exp(score - peak))
      const total = weights.reduce((sum, weight) => sum + weight, 0)
      weights.forEach((weight, j) => {
        for (let d = at; d < at + width; d++) out[d] = out[d]! + (weight / total) * contents[j]![d]!
      })
    }
    return out
  })
}

const causal = (_: number, i: number, j: number) => (j > i ? Number.NEGATIVE_INFINITY : 0)

/** A layer whose weight is stored inputs × outputs. */
function conv1d(model: Model, name: string, x: Vector): Vector {
  const { values, shape } = model.get(`${name}.weight`)!
  const bias = model.get(`${name}.bias`)!.values
  const [inputs, outputs] = shape as [number, number]
  return Float64Array.from({ length: outputs }, (_, j) => {
    let sum = bias[j]!
    for (let i = 0; i < inputs; i++) sum += x[i]! * values[i * outputs + j]!
    return sum
  })
}

/** `head`: of a model whose head is not its embedding. */
export function gpt2(
  model: Model,
  layers: number,
  heads: number,
  tokens: readonly number[],
  head = model.get('wte.weight')!,
): Rows {
  let x = tokens.map((token, i) => add(row(model, 'wte.weight', token), row(model, 'wpe.weight', i)))
  for (let k = 0; k < layers; k++) {
    const fused = x.map((each) => conv1d(model, `h.${k}.attn.c_attn`, layerNorm(model, `h.${k}.ln_1`, each)))
    const third = fused[0]!.length / 3
    const part = (n: number) => fused.map((each) => each.slice(n * third, (n + 1) * third))
    const out = attend([part(0), part(1), part(2)], heads, causal)
    x = x.map((each, i) => add(each, conv1d(model, `h.${k}.attn.c_proj`, out[i]!)))
    x = x.map((each) => {
      const inner = gelu(conv1d(model, `h.${k}.mlp.c_fc`, layerNorm(model, `h.${k}.ln_2`, each)))
      return add(each, conv1d(model, `h.${k}.mlp.c_proj`, inner))
    })
  }
  return x.map((each) => linear(new Map([['out.weight', head]]), 'out', layerNorm(model, 'ln_f', each)))
}

export function bert(model: Model, layers: number, heads: number, tokens: readonly number[]): Rows {
  const table = 'bert.embeddings'
  let x = tokens.map((token, i) => {
    const sum = add(
      row(model, `${table}.word_embeddings.weight`, token),
      row(model, `${table}.position_embeddings.weight`, i),
    )
    return layerNorm(model, `${table}.LayerNorm`, add(sum, row(model, `${table}.token_type_embeddings.weight`, i % 2)))
  })
  for (let k = 0; k < layers; k++) {
    const at = `bert.encoder.layer.${k}`
    const map = (name: string, rows: Rows) => rows.map((each) => linear(model, `${at}.${name}`, each))
    const out = attend(
      [map('attention.self.query', x), map('attention.self.key', x), map('attention.self.value', x)],
      heads,
    )
    const mixed = map('attention.output.dense', out)
    x = x.map((each, i) => layerNorm(model, `${at}.attention.output.LayerNorm`, add(each, mixed[i]!)))
    const inner = map('output.dense', map('intermediate.dense', x).map(gelu))
    x = x.map((each, i) => layerNorm(model, `${at}.output.LayerNorm`, add(each, inner[i]!)))
  }
  const pooled = linear(model, 'bert.pooler.dense', x[0]!).map(Math.tanh)
  const head = x.map((each) => {
    const inner = gelu(linear(model, 'cls.predictions.transform.dense', each))
    const tied: Model = new Map([
      ['out.weight', model.get(`${table}.word_embeddings.weight`)!],
      ['out.bias', model.get('cls.predictions.bias')!],
    ])
    return linear(tied, 'out', layerNorm(model, 'cls.predictions.transform.LayerNorm', inner))
  })
  return [...head, linear(model, 'cls.seq_relationship', pooled)]
}

/** `patches`: for each patch its channels × pixels in a row, as the projection's kernel has them. */
export function vit(model: Model, layers: number, heads: number, patches: Rows): Rows {
  const { values: kernel, shape } = model.get('vit.embeddings.patch_embeddings.projection.weight')!
  const flat: Model = new Map([
    ['p.weight', { dtype: 'F32', shape: [shape[0]!, kernel.length / shape[0]!], values: kernel }],
    ['p.bias', model.get('vit.embeddings.patch_embeddings.projection.bias')!],
  ])
  const tokens = [row(model, 'vit.embeddings.cls_token', 0), ...patches.map((patch) => linear(flat, 'p', patch))]
  let x = tokens.map((token, i) => add(token, row(model, 'vit.embeddings.position_embeddings', i)))
  for (let k = 0; k < layers; k++) {
    const at = `vit.encoder.layer.${k}`
    const map = (name: string, rows: Rows) => rows.map((each) => linear(model, `${at}.${name}`, each))
    const y = x.map((each) => layerNorm(model, `${at}.layernorm_before`, each))
    const own = 'attention.attention'
    const out = map(
      'attention.output.dense',
      attend([map(`${own}.query`, y), map(`${own}.key`, y), map(`${own}.value`, y)], heads),
    )
    x = x.map((each, i) => add(each, out[i]!))
    const z = x.map((each) => layerNorm(model, `${at}.layernorm_after`, each))
    const inner = map('output.dense', map('intermediate.dense', z).map(gelu))
    x = x.map((each, i) => add(each, inner[i]!))
  }
  return [linear(model, 'classifier', layerNorm(model, 'vit.layernorm', x[0]!))]
}

/** Encoder and decoder of t5 with gated feed-forward layers; buckets of positions by distance, cut at the table's end. */
export function t5(
  model: Model,
  layers: number,
  heads: number,
  source: readonly number[],
  target: readonly number[],
): Rows {
  const rms = (name: string, x: Vector) => {
    const scale = 1 / Math.sqrt(x.reduce((sum, value) => sum + value * value, 0) / x.length + 1e-6)
    const weight = values(model, `${name}.weight`)
    return x.map((value, i) => value * scale * weight[i]!)
  }
  const attention = (at: string, x: Rows, memory: Rows, bias: (head: number, i: number, j: number) => number) => {
    const map = (name: string, rows: Rows) => rows.map((each) => linear(model, `${at}.${name}`, each))
    return map('o', attend([map('q', x), map('k', memory), map('v', memory)], heads, bias, false))
  }
  const feed = (at: string, x: Rows): Rows =>
    x.map((each) => {
      const y = rms(`${at}.layer_norm`, each)
      const gate = gelu(linear(model, `${at}.DenseReluDense.wi_0`, y))
      const up = linear(model, `${at}.DenseReluDense.wi_1`, y)
      return add(
        each,
        linear(
          model,
          `${at}.DenseReluDense.wo`,
          gate.map((value, i) => value * up[i]!),
        ),
      )
    })
  const positions = (stack: string, masked: boolean) => {
    const { values, shape } = model.get(`${stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight`)!
    return (head: number, i: number, j: number) =>
      masked && j > i ? Number.NEGATIVE_INFINITY : values[Math.min(Math.abs(i - j), shape[0]! - 1) * heads + head]!
  }
  const stack = (name: string, tokens: readonly number[], memory?: Rows): Rows => {
    let x = tokens.map((token) => row(model, 'shared.weight', token))
    const bias = positions(name, memory !== undefined)
    for (let k = 0; k < layers; k++) {
      const at = `${name}.block.${k}.layer`
      const y = x.map((each) => rms(`${at}.0.layer_norm`, each))
      const own = attention(`${at}.0.SelfAttention`, y, y, bias)
      x = x.map((each, i) => add(each, own[i]!))
      if (memory) {
        const z = x.map((each) => rms(`${at}.1.layer_norm`, each))
        const other = attention(`${at}.1.EncDecAttention`, z, memory, () => 0)
        x = x.map((each, i) => add(each, other[i]!))
      }
      x = feed(`${at}.${memory ? 2 : 1}`, x)
    }
    return x.map((each) => rms(`${name}.final_layer_norm`, each))
  }
  return stack('decoder', target, stack('encoder', source)).map((each) => linear(model, 'lm_head', each))
}
