import { linear } from './forward.js'
import type { Model } from './load.js'

export interface LlamaConfig {
  readonly hidden_size: number
  readonly num_attention_heads: number
  readonly num_key_value_heads: number
  readonly num_hidden_layers: number
  readonly rope_theta: number
  readonly rms_norm_eps: number
}

/** Logits after every token of a model in the llama layout. */
export function llama(model: Model, config: LlamaConfig, tokens: readonly number[]): Float64Array[] {
  const hidden = config.hidden_size
  const heads = config.num_attention_heads
  const kv = config.num_key_value_heads
  const width = model.get('model.layers.0.self_attn.q_proj.weight')!.shape[0]! / heads
  const norm = (name: string, x: Float64Array) => {
    const weight = model.get(name)!.values
    const scale = 1 / Math.sqrt(x.reduce((sum, value) => sum + value * value, 0) / hidden + config.rms_norm_eps)
    return x.map((value, i) => value * scale * weight[i]!)
  }
  const turn = (x: Float64Array, place: number) => {
    const half = width / 2
    const out = x.slice()
    for (let head = 0; head < x.length; head += width) {
      for (let d = 0; d < half; d++) {
        const angle = place / config.rope_theta ** ((2 * d) / width)
        const [c, s] = [Math.cos(angle), Math.sin(angle)]
        out[head + d] = x[head + d]! * c - x[head + d + half]! * s
        out[head + d + half] = x[head + d + half]! * c + x[head + d]! * s
      }
    }
    return out
  }
  const table = model.get('model.embed_tokens.weight')!.values
  const stream = tokens.map((token) => Float64Array.from(table.subarray(token * hidden, (token + 1) * hidden)))
  const add = (x: Float64Array, y: Float64Array) => {
    for (let i = 0; i < x.length; i++) x[i] = x[i]! + y[i]!
  }
  for (let layer = 0; layer < config.num_hidden_layers; layer++) {
    const at = `model.layers.${layer}`
    const keys: Float64Array[] = []
    const values: Float64Array[] = []
    for (const [place, x] of stream.entries()) {
      const y = norm(`${at}.input_layernorm.weight`, x)
      const q = turn(linear(model, `${at}.self_attn.q_proj`, y), place)
      keys.push(turn(linear(model, `${at}.self_attn.k_proj`, y), place))
      values.push(linear(model, `${at}.self_attn.v_proj`, y))
      const out = new Float64Array(heads * width)
      for (let head = 0; head < heads; head++) {
        const from = Math.floor((head * kv) / heads) * width
        const scores = keys.map((key) => {
          let sum = 0
          for (let d = 0; d < width; d++) sum += q[head * width + d]! * key[from + d]!
          return sum / Math.sqrt(width)
        })
        const peak = Math.max(...scores)
        const weights = scores.map((score) => Math.exp(score - peak))
        const total = weights.reduce((sum, weight) => sum + weight, 0)
        for (const [k, weight] of weights.entries())
          for (let d = 0; d < width; d++)
            out[head * width + d] = out[head * width + d]! + (weight / total) * values[k]![from + d]!
      }
      add(x, linear(model, `${at}.self_attn.o_proj`, out))
      const z = norm(`${at}.post_attention_layernorm.weight`, x)
      const gate = linear(model, `${at}.mlp.gate_proj`, z)
      const up = linear(model, `${at}.mlp.up_proj`, z)
      add(
        x,
        linear(
          model,
          `${at}.mlp.down_proj`,
          gate.map((value, i) => (value / (1 + Math.exp(-value))) * up[i]!),
        ),
      )
    }
  }
  return stream.map((x) => linear(model, 'lm_head', norm('model.norm.weight', x)))
}

/** Mean loss of predicting each next token. */
export function languageLoss(model: Model, config: LlamaConfig, tokens: readonly number[]): number {
  const logits = llama(model, config, tokens.slice(0, -1))
  let loss = 0
  for (const [place, out] of logits.entries()) {
    const peak = Math.max(...out)
    loss += peak + Math.log(out.reduce((sum, value) => sum + Math.exp(value - peak), 0)) - out[tokens[place + 1]!]!
  }
  return loss / logits.length
}
