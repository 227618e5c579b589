// Two models that share some tokens, with embeddings of any size: node bench/vocabularies/models.mjs FOLDER DONOR BASE SHARED [WIDTH]
// The embeddings have clusters, a common part, a spectrum that falls, and two massive dimensions, as trained ones have.
import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs'
import path from 'node:path'

const [folder, ...sizes] = process.argv.slice(2)
const [donorRows, baseRows, shared, width = 4096] = sizes.map(Number)
if (!(shared <= Math.min(donorRows, baseRows))) {
  console.error('node bench/vocabularies/models.mjs FOLDER DONOR BASE SHARED [WIDTH]')
  process.exit(2)
}

/** Random numbers: the same in each run. */
function randomOf(seed) {
  let state = seed >>> 0
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}

/** A table of normal numbers, read from any place: fast enough for gigabytes. */
const TABLE = 1 << 20
function normals(seed) {
  const random = randomOf(seed)
  return Float32Array.from(
    { length: TABLE },
    () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random()),
  )
}

function writeModel(name, rows, token, bytes, seed) {
  const home = path.join(folder, name)
  mkdirSync(home, { recursive: true })
  const [random, table] = [randomOf(seed), normals(seed + 1)]
  const spectrum = Float32Array.from(
    { length: width },
    (_, i) => 0.02 * (1 + 3 * Math.exp(-i / 40)) * (i % 1000 === 7 ? 8 : 1),
  )
  const vector = (scale) => Float32Array.from(spectrum, (size) => scale * size * table[Math.floor(random() * TABLE)])
  const common = vector(0.4)
  const centres = Array.from({ length: 500 }, () => vector(1))
  const header = {}
  const names = ['model.embed_tokens.weight', 'lm_head.weight']
  for (const [i, tensor] of names.entries())
    header[tensor] = {
      dtype: 'BF16',
      shape: [rows, width],
      data_offsets: [2 * i * rows * width, 2 * (i + 1) * rows * width],
    }
  const text = Buffer.from(JSON.stringify(header))
  const fd = openSync(path.join(home, 'model.safetensors'), 'w')
  const size = Buffer.alloc(8)
  size.writeBigUInt64LE(BigInt(text.length))
  writeSync(fd, size)
  writeSync(fd, text)
  const [row, bits] = [new Float32Array(width), new Uint16Array(width)]
  const words = new Uint32Array(row.buffer)
  for (const _ of names)
    for (let r = 0; r < rows; r++) {
      const [one, two] = [centres[Math.floor(500 * random() ** 2)], centres[Math.floor(500 * random())]]
      const [a, b, length, from] = [
        0.3 + 0.8 * random(),
        0.6 * random(),
        0.6 + 0.8 * random(),
        Math.floor(random() * TABLE),
      ]
      for (let i = 0; i < width; i++)
        row[i] = length * (common[i] + a * one[i] + b * two[i] + 0.8 * spectrum[i] * table[(from + i) % TABLE])
      for (let i = 0; i < width; i++) bits[i] = (words[i] + 0x8000) >>> 16
      writeSync(fd, bits)
    }
  closeSync(fd)
  const vocab = Object.fromEntries(Array.from({ length: rows }, (_, id) => [token(id), id]))
  const model = { type: 'BPE', dropout: null, unk_token: null, vocab, merges: [] }
  const pre = bytes ? { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true } : null
  const decoder = { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true }
  const tokenizer = {
    version: '1.0',
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: pre,
    post_processor: null,
    decoder,
    model,
  }
  writeFileSync(path.join(home, 'tokenizer.json'), JSON.stringify(tokenizer))
  writeFileSync(
    path.join(home, 'tokenizer_config.json'),
    JSON.stringify({ tokenizer_class: 'PreTrainedTokenizerFast' }),
  )
  const config = { model_type: 'llama', architectures: ['LlamaForCausalLM'], vocab_size: rows, hidden_size: width }
  writeFileSync(path.join(home, 'config.json'), JSON.stringify({ ...config, tie_word_embeddings: false }))
}

// Shared tokens are spread over both vocabularies.
const spread = (rows) => (id) => Math.floor(((id + 1) * shared) / rows) > Math.floor((id * shared) / rows)
const tokenOf = (rows, own) => {
  const isShared = spread(rows)
  return (id) => (isShared(id) ? `s${Math.floor((id * shared) / rows)}` : `${own}${id}`)
}
writeModel('donor', donorRows, tokenOf(donorRows, 'd'), true, 11)
writeModel('base', baseRows, tokenOf(baseRows, 'b'), true, 12)
const recipe =
  'terge: 1\nmodels: {base: ./base, donor: ./donor}\ntokenizer: {source: donor, missing: omp}\noutput: {path: out, from: base}\n'
writeFileSync(path.join(folder, 'recipe.yml'), recipe)
