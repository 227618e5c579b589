// How well does a language model predict Python and C?  node perplexity.mjs MODEL_FOLDER...
// A small llama or Mixtral in plain JavaScript. The models read single characters; text/ holds a sample of each language.
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'

const WINDOW = 64

/** The values of every tensor in a folder's safetensors files, which store BF16 or F32. */
function weights(folder) {
  const tensors = {}
  for (const file of readdirSync(folder).filter((name) => name.endsWith('.safetensors'))) {
    const bytes = readFileSync(path.join(folder, file))
    const start = 8 + Number(bytes.readBigUInt64LE())
    const { __metadata__, ...header } = JSON.parse(bytes.subarray(8, start).toString())
    for (const [name, { dtype, data_offsets }] of Object.entries(header)) {
      const data = bytes.subarray(start + data_offsets[0], start + data_offsets[1])
      const step = dtype === 'BF16' ? 2 : 4
      const bits = new Uint32Array(data.length / step)
      // BF16 is the upper half of a float32.
      for (let i = 0; i < bits.length; i++)
        bits[i] = step === 2 ? data.readUInt16LE(2 * i) << 16 : data.readUInt32LE(4 * i)
      tensors[name] = new Float32Array(bits.buffer)
    }
  }
  return tensors
}

/** Four rows at a time, so that no sum waits for another one. */
function multiply(matrix, x) {
  const columns = x.length
  const y = new Float64Array(matrix.length / columns)
  for (let row = 0; row < y.length; row += 4) {
    let [a, b, c, d] = [0, 0, 0, 0]
    for (let column = 0, at = row * columns; column < columns; column++, at++) {
      const value = x[column]
      a += matrix[at] * value
      b += matrix[at + columns] * value
      c += matrix[at + 2 * columns] * value
      d += matrix[at + 3 * columns] * value
    }
    // Rows past the end have no place.
    y[row] = a
    y[row + 1] = b
    y[row + 2] = c
    y[row + 3] = d
  }
  return y
}

const sum = (values) => values.reduce((total, value) => total + value, 0)

/** Of `width` numbers from these places. */
function dot(a, b, width = a.length, from = 0, to = 0) {
  let total = 0
  for (let i = 0; i < width; i++) total += a[from + i] * b[to + i]
  return total
}

function add(x, y) {
  for (let i = 0; i < x.length; i++) x[i] += y[i]
}

/** Rotary position embedding of each head of `width` numbers. */
function rotate(x, position, width, theta) {
  const [y, half] = [x.slice(), width / 2]
  for (let n = 0; n < half; n++) {
    const angle = position / theta ** ((2 * n) / width)
    const [cos, sin] = [Math.cos(angle), Math.sin(angle)]
    for (let i = n; i < x.length; i += width) {
      y[i] = x[i] * cos - x[i + half] * sin
      y[i + half] = x[i + half] * cos + x[i] * sin
    }
  }
  return y
}

/** The MLPs that a token goes through, with their shares: of a Mixtral, the experts that its router scores highest. */
function chosen({ num_local_experts: experts, num_experts_per_tok: count }, linear) {
  if (experts === undefined) return [[1, 'mlp', 'gate_proj', 'up_proj', 'down_proj']]
  const scores = [...linear('block_sparse_moe.gate')].slice(0, experts)
  const best = [...scores.keys()].sort((a, b) => scores[b] - scores[a]).slice(0, count)
  const total = sum(best.map((expert) => Math.exp(scores[expert])))
  return best.map((expert) => {
    const share = Math.exp(scores[expert]) / total
    return [share, `block_sparse_moe.experts.${expert}`, 'w1', 'w3', 'w2']
  })
}

/** The scores of the next token after each token. */
function forward(model, config, tokens) {
  const { hidden_size: hidden, num_attention_heads: heads, num_key_value_heads: groups } = config
  const width = hidden / heads
  const norm = (name, x) => {
    const scale = 1 / Math.sqrt(dot(x, x) / hidden + config.rms_norm_eps)
    return x.map((value, i) => value * scale * model[name][i])
  }
  const embedding = model['model.embed_tokens.weight']
  const stream = tokens.map((token) => Float64Array.from(embedding.subarray(token * hidden, (token + 1) * hidden)))
  for (let layer = 0; layer < config.num_hidden_layers; layer++) {
    const [keys, values] = [[], []]
    const linear = (name, x) => multiply(model[`model.layers.${layer}.${name}.weight`], x)
    stream.forEach((x, position) => {
      const y = norm(`model.layers.${layer}.input_layernorm.weight`, x)
      const query = rotate(linear('self_attn.q_proj', y), position, width, config.rope_theta)
      keys.push(rotate(linear('self_attn.k_proj', y), position, width, config.rope_theta))
      values.push(linear('self_attn.v_proj', y))
      const attention = new Float64Array(hidden)
      for (let head = 0; head < heads; head++) {
        const [from, to] = [head * width, Math.floor((head * groups) / heads) * width]
        const shares = keys.map((key) => Math.exp(dot(query, key, width, from, to) / Math.sqrt(width)))
        const total = sum(shares)
        shares.forEach((share, n) => {
          const [part, value] = [share / total, values[n]]
          for (let i = 0; i < width; i++) attention[from + i] += part * value[to + i]
        })
      }
      add(x, linear('self_attn.o_proj', attention))
      const z = norm(`model.layers.${layer}.post_attention_layernorm.weight`, x)
      for (const [share, expert, gate, up, down] of chosen(config, (name) => linear(name, z))) {
        const ups = linear(`${expert}.${up}`, z)
        const gated = linear(`${expert}.${gate}`, z).map((value, i) => (value / (1 + Math.exp(-value))) * ups[i])
        add(
          x,
          linear(`${expert}.${down}`, gated).map((value) => share * value),
        )
      }
    })
  }
  return stream.map((x) => multiply(model['lm_head.weight'], norm('model.norm.weight', x)))
}

/** e to the mean cross-entropy of each character, given those before it in a window. */
function perplexity(model, config, tokens) {
  let [loss, count] = [0, 0]
  for (let start = 0; start + 1 < tokens.length; start += WINDOW) {
    const window = tokens.slice(start, start + WINDOW + 1)
    const scores = forward(model, config, window.slice(0, -1))
    for (const [n, row] of scores.entries()) loss += Math.log(sum(row.map(Math.exp))) - row[window[n + 1]]
    count += scores.length
  }
  return Number(Math.exp(loss / count).toFixed(4))
}

const results = process.argv.slice(2).map((folder) => {
  const json = (name) => JSON.parse(readFileSync(path.join(folder, name), 'utf8'))
  const { vocab } = json('tokenizer.json').model
  const [model, config] = [weights(folder), json('config.json')]
  const score = (file) => {
    const text = readFileSync(new URL(`text/${file}`, import.meta.url), 'utf8')
    return perplexity(
      model,
      config,
      Array.from(text, (character) => vocab[character]),
    )
  }
  return { folder, python: score('sample.py'), c: score('sample.c') }
})
// One model: an object of numbers, for programs. Several: lines to compare.
if (results.length === 1) console.log(JSON.stringify({ python: results[0].python, c: results[0].c }))
else
  for (const { folder, python, c } of results) console.log(`python ${python.toFixed(2)}  c ${c.toFixed(2)}  ${folder}`)
