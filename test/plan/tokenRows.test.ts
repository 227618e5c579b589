/** Embeddings that follow a vocabulary, through the real command on models made from the small language models. */
import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { f32, inFolder, type RawTensor, raw, safetensors } from '../support/files.js'
import { fixture, terge } from '../support/terge.js'

type Read = Record<string, { shape: number[]; values: Float32Array }>

/** A file of BF16 tensors. */
function read(file: string): Read {
  const bytes = readFileSync(file)
  const length = Number(bytes.readBigUInt64LE(0))
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + length)) as Record<
    string,
    { shape: number[]; data_offsets: number[] }
  >
  const tensors: Read = {}
  for (const [name, { shape, data_offsets: [from = 0, to = 0] = [] }] of Object.entries(header)) {
    if (name === '__metadata__') continue
    const words = new Uint16Array(new Uint8Array(bytes.subarray(8 + length + from, 8 + length + to)).buffer)
    tensors[name] = { shape, values: new Float32Array(Uint32Array.from(words, (word) => word << 16).buffer) }
  }
  return tensors
}

const WIDTH = 96
const EMBEDDINGS = ['model.embed_tokens.weight', 'lm_head.weight']
const whole = JSON.parse(readFileSync(fixture('lm/base/tokenizer.json'), 'utf8')) as {
  model: { vocab: Record<string, number> }
}
const characters = Object.keys(whole.model.vocab).sort((a, b) => whole.model.vocab[a]! - whole.model.vocab[b]!)

/** Row of a token of model `seed`: what no model of the fixtures has is made up, exactly in BF16. */
const made = (token: string, seed: number, column: number): number =>
  ((token.charCodeAt(0) % 31) + seed * 32 + (column % 2)) / 256

/** One of the small models, with this vocabulary in this order and `padding` rows more. */
function writeVariant(
  folder: string,
  model: string,
  tokens: readonly string[],
  seed: number,
  padding = 0,
  wide = false,
): Read {
  cpSync(fixture(`lm/${model}`), folder, { recursive: true })
  const stored = read(path.join(folder, 'model.safetensors'))
  const rows = tokens.length + padding
  const out: Record<string, RawTensor> = {}
  for (const [name, tensor] of Object.entries(stored)) {
    if (EMBEDDINGS.includes(name)) {
      const values = new Float32Array(rows * WIDTH)
      for (const [row, token] of tokens.entries()) {
        const id = whole.model.vocab[token]
        for (let column = 0; column < WIDTH; column++)
          values[row * WIDTH + column] =
            id === undefined ? made(token, seed, column) : tensor.values[id * WIDTH + column]!
      }
      stored[name] = { shape: [rows, WIDTH], values }
    }
    const { shape, values } = stored[name]!
    const words = Uint16Array.from(new Uint32Array(values.buffer), (word) => word >>> 16)
    out[name] = wide ? f32(shape, values) : raw('BF16', shape, [...new Uint8Array(words.buffer)])
  }
  writeFileSync(path.join(folder, 'model.safetensors'), safetensors(out))
  const vocab = Object.fromEntries(tokens.map((token, id) => [token, id]))
  const document = JSON.parse(readFileSync(path.join(folder, 'tokenizer.json'), 'utf8')) as Record<string, unknown>
  const added = [{ id: tokens.indexOf('\n'), content: '\n', special: true, normalized: false }]
  writeFileSync(
    path.join(folder, 'tokenizer.json'),
    JSON.stringify({ ...document, added_tokens: added, model: { ...whole.model, vocab } }),
  )
  const config = JSON.parse(readFileSync(path.join(folder, 'config.json'), 'utf8')) as Record<string, unknown>
  const ids = { bos_token_id: tokens.indexOf('\n'), eos_token_id: tokens.indexOf('\n') }
  writeFileSync(path.join(folder, 'config.json'), JSON.stringify({ ...config, ...ids, vocab_size: rows }))
  writeFileSync(path.join(folder, 'generation_config.json'), JSON.stringify(ids))
  return stored
}

const first = characters.filter((token) => token !== 'z')
const second = [...[...characters].reverse().filter((token) => token !== 'q'), 'é', 'ß']
const third = [...characters.filter((token) => token !== 'q' && token !== 'z'), 'ß', 'ø']

interface Case {
  readonly folder: string
  readonly stored: readonly Read[]
  readonly json: (name: string) => Record<string, unknown>
  readonly run: (more: string, out?: string, args?: readonly string[], merge?: string) => Promise<Read>
}

const withModels = (work: (given: Case) => Promise<void>): Promise<void> =>
  inFolder(async (folder) => {
    const stored = [
      writeVariant(path.join(folder, 'a'), 'prose', first, 1, 3),
      writeVariant(path.join(folder, 'b'), 'python', second, 2),
      writeVariant(path.join(folder, 'c'), 'c', third, 3),
    ]
    let out = ''
    await work({
      folder,
      stored,
      json: (name) => JSON.parse(readFileSync(path.join(folder, out, name), 'utf8')) as Record<string, unknown>,
      async run(
        more,
        to = 'out',
        args = [],
        merge = '{method: linear, models: [a, b, c], weights: {a: 0.5, b: 0.25, c: 0.25}}',
      ) {
        const text = `terge: 1\nmodels: {a: ./a, b: ./b, c: ./c}\nbase: a\nmerge: ${merge}\n${more}\noutput: ${to}\n`
        writeFileSync(path.join(folder, 'recipe.yml'), text)
        const ran = await terge(['run', 'recipe.yml', '--no-sync', ...args], folder)
        assert.is(ran.code, 0, ran.err)
        out = to
        return read(path.join(folder, to, 'model.safetensors'))
      },
    })
  })

const vocabOf = (json: Record<string, unknown>): Record<string, number> =>
  (json.model as { vocab: Record<string, number> }).vocab

/** A token's row as each model has it, by the rules that the documentation states. */
function expected(stored: readonly Read[], name: string, token: string, column: number): number[] {
  const own = [first, second, third].map((tokens, model) => {
    const row = tokens.indexOf(token)
    return row < 0 ? undefined : stored[model]![name]!.values[row * WIDTH + column]!
  })
  const have = own.filter((value) => value !== undefined)
  const fill = own[0] ?? have.reduce((sum, value) => sum + value, 0) / have.length
  return own.map((value) => value ?? fill)
}

const close = (actual: number, wanted: number, what: string): void =>
  assert.ok(Math.abs(actual - wanted) <= Math.abs(wanted) * 2 ** -8 + 1e-30, `${what}: ${actual}, not ${wanted}`)

test('union: each token has the expected row, for every number of threads', () =>
  withModels(async ({ folder, stored, run, json }) => {
    const result = await run('tokenizer: union', 'out', ['--threads', '1'])
    const vocab = vocabOf(json('tokenizer.json'))
    assert.is(Object.keys(vocab).length, 99)
    for (const [id, token] of first.entries()) assert.is(vocab[token], id)
    assert.equal(
      ['é', 'ß', 'ø', 'z'].map((token) => vocab[token]),
      [first.length + 1, first.length + 2, first.length + 3, first.length],
    )
    const rows = 99
    assert.is(json('config.json').vocab_size, rows)
    for (const name of EMBEDDINGS) {
      assert.equal(result[name]!.shape, [rows, WIDTH])
      for (const [token, id] of Object.entries(vocab))
        for (const column of [0, 1, 95]) {
          const [a, b, c] = expected(stored, name, token, column)
          close(
            result[name]!.values[id * WIDTH + column]!,
            0.5 * a! + 0.25 * b! + 0.25 * c!,
            `${name} ${token} ${column}`,
          )
        }
    }
    const lineage = json('lineage.json') as {
      steps: Record<string, { added: number; models: Record<string, { found: number }> }>
    }
    assert.is(lineage.steps.tokenizer!.added, 4)
    assert.equal(
      Object.values(lineage.steps.tokenizer!.models).map(({ found }) => found),
      [95, 97, 96],
    )
    const files = Object.values(
      (json('lineage.json') as { models: Record<string, { files: { digest: unknown }[] }> }).models,
    )
    assert.ok(files.every(({ files }) => files.every(({ digest }) => typeof digest === 'string')))
    await run('tokenizer: union', 'again', ['--threads', '2'])
    const bytes = (of: string) => readFileSync(path.join(folder, of, 'model.safetensors'))
    assert.ok(bytes('out').equals(bytes('again')))
    const verified = await terge(['verify', 'out/lineage.json'], folder)
    assert.is(verified.code, 0, verified.err + verified.out)
  }))

test('rows of other dtypes are decoded and averages are computed in float32 and float64', () =>
  withModels(async ({ folder, run, json }) => {
    const stored = [
      read(path.join(folder, 'a/model.safetensors')),
      writeVariant(path.join(folder, 'b'), 'python', second, 2, 0, true),
      read(path.join(folder, 'c/model.safetensors')),
    ]
    for (const compute of ['float32', 'float64']) {
      const result = await run(`tokenizer: union\ncompute: ${compute}`, compute)
      for (const [token, id] of Object.entries(vocabOf(json('tokenizer.json')))) {
        const [a, b, c] = expected(stored, 'lm_head.weight', token, 3)
        close(result['lm_head.weight']!.values[id * WIDTH + 3]!, 0.5 * a! + 0.25 * b! + 0.25 * c!, token)
      }
    }
    writeFileSync(path.join(folder, 'a/tokenizer_config.json'), '{')
    const { code, err, out } = await terge(['validate', 'recipe.yml'], folder)
    assert.is(code, 2)
    assert.match(err + out, /error bad-tokenizer: a: tokenizer_config\.json: not valid JSON/)
  }))

test('with another model’s tokenizer, rows, sizes and token ids are that model’s', () =>
  withModels(async ({ stored, run, json }) => {
    const result = await run('tokenizer: b')
    const name = EMBEDDINGS[0]!
    assert.equal(result[name]!.shape, [second.length, WIDTH])
    for (const [id, token] of second.entries()) {
      const [a, b, c] = expected(stored, name, token, 5)
      close(result[name]!.values[id * WIDTH + 5]!, 0.5 * a! + 0.25 * b! + 0.25 * c!, token)
    }
    const config = json('config.json')
    assert.equal([config.vocab_size, config.eos_token_id], [second.length, second.indexOf('\n')])
    assert.is(json('generation_config.json').eos_token_id, second.indexOf('\n'))
    assert.is(vocabOf(json('tokenizer.json')).é, second.indexOf('é'))
  }))

test('single tokens can have sources, and rows can be padded', () =>
  withModels(async ({ stored, run, json }) => {
    const tokens =
      '{"a": {source: b, force: true}, "ß": {source: c}, "é": {source: {kind: model_token, model: b, token: "e"}, force: true}, "ø": {source: {kind: zero}, force: true}}'
    const result = await run(`tokenizer: {source: union, tokens: ${tokens}, pad_to_multiple_of: 64}`)
    const name = EMBEDDINGS[0]!
    assert.equal(result[name]!.shape, [128, WIDTH])
    assert.is(json('config.json').vocab_size, 128)
    const vocab = vocabOf(json('tokenizer.json'))
    const got = (token: string) => result[name]!.values[vocab[token]! * WIDTH + 1]!
    const of = (model: number, tokens: readonly string[], token: string) =>
      stored[model]![name]!.values[tokens.indexOf(token) * WIDTH + 1]!
    close(got('a'), of(1, second, 'a'), 'a')
    close(got('ß'), 0.75 * of(2, third, 'ß') + 0.25 * of(1, second, 'ß'), 'ß')
    close(got('é'), of(1, second, 'e'), 'é')
    assert.is(got('ø'), 0)
    // Rows without a token are the mean of the others, each model's own; of a's padding none is left.
    for (const column of [0, 1, 95]) {
      let sum = 0
      for (let row = 0; row < 99; row++) sum += result[name]!.values[row * WIDTH + column]!
      // The rows of the result are rounded, those that were averaged are not.
      for (const row of [99, 127]) {
        const made = result[name]!.values[row * WIDTH + column]!
        assert.ok(made !== 0 && Math.abs(made - sum / 99) < 1e-4, `padding ${row}: ${made}, not ${sum / 99}`)
      }
    }
  }))

test('a copy through a row map keeps the bytes; task vectors use one base', () =>
  withModels(async ({ stored, run, json }) => {
    const name = EMBEDDINGS[0]!
    const copied = await run(`tokenizer: union\nfilters: {exclude: ["${name}"]}`)
    const vocab = vocabOf(json('tokenizer.json'))
    for (const [id, token] of first.entries())
      assert.is(copied[name]!.values[id * WIDTH + 7], stored[0]![name]!.values[first.indexOf(token) * WIDTH + 7])
    const id = vocab.é!
    assert.is(copied[name]!.values[id * WIDTH + 7], stored[1]![name]!.values[second.indexOf('é') * WIDTH + 7])
    const vectors = await run('tokenizer: union', 'vectors', [], '{method: task_arithmetic, models: [b]}')
    const z = vocab.z!
    close(vectors[name]!.values[z * WIDTH]!, stored[1]![name]!.values[second.indexOf('z') * WIDTH]!, 'z')
  }))

test('models are aligned by their common rows, as in two runs', () =>
  withModels(async ({ folder }) => {
    const run = async (text: string) => {
      writeFileSync(path.join(folder, 'recipe.yml'), text)
      const ran = await terge(['run', 'recipe.yml', '--no-sync'], folder)
      assert.is(ran.code, 0, ran.err)
    }
    const align = (out: string) =>
      `rebasin: [{model: b, onto: a, max_iterations: 2}]\nmerge: {method: linear}\noutput: {path: ${out}, dtype: float32}\n`
    await run(`terge: 1\nmodels: {a: ./a, b: ./b}\ntokenizer: union\n${align('once')}`)
    const outputs = ['a', 'b'].map((name) => `{from: ${name}, path: wide-${name}, dtype: float32}`)
    await run(`terge: 1\nmodels: {a: ./a, b: ./b}\ntokenizer: union\noutputs: [${outputs}]\n`)
    await run(`terge: 1\nmodels: {a: ./wide-a, b: ./wide-b}\n${align('twice')}`)
    const bytes = (of: string) => readFileSync(path.join(folder, of, 'model.safetensors'))
    assert.ok(bytes('once').equals(bytes('twice')))
  }))

test('mergekit unions have mergekit’s defaults, sources and templates', () =>
  withModels(async ({ folder, json }) => {
    const config = `merge_method: linear
models: [{model: ./a, parameters: {weight: 1}}, {model: ./b, parameters: {weight: 1}}]
base_model: ./a
tokenizer: {source: union, tokens: {"a": {source: {kind: model_token, model: ./b, token: "a"}, force: true}}}
chat_template: chatml
dtype: bfloat16
`
    writeFileSync(path.join(folder, 'mk.yml'), config)
    const ran = await terge(['run', 'mk.yml', '-o', 'mk', '--no-sync'], folder)
    assert.is(ran.code, 0, ran.err)
    const result = read(path.join(folder, 'mk/model.safetensors'))
    assert.equal(result['lm_head.weight']!.shape, [98, WIDTH])
    assert.match(readFileSync(path.join(folder, 'mk/tokenizer_config.json'), 'utf8'), '<|im_start|>')
    assert.type(json, 'function')
    assert.not.ok(existsSync(path.join(folder, 'mk/chat_template.jinja')))
  }))

test('chat templates come from a model, a name or a text, and go into the base’s template file if it has one', () =>
  withModels(async ({ folder, run, json }) => {
    writeFileSync(path.join(folder, 'b/chat_template.jinja'), '{{ b }}')
    await run('chat_template: b')
    assert.is(json('tokenizer_config.json').chat_template, '{{ b }}')
    await run('chat_template: "{{ messages }}"', 'text')
    assert.is(json('tokenizer_config.json').chat_template, '{{ messages }}')
    mkdirSync(path.join(folder, 'x'))
    writeFileSync(path.join(folder, 'a/chat_template.jinja'), '{{ a }}')
    await run('chat_template: llama3', 'file')
    assert.match(readFileSync(path.join(folder, 'file/chat_template.jinja'), 'utf8'), '<|eot_id|>')
    assert.not('chat_template' in json('tokenizer_config.json'))
    writeFileSync(
      path.join(folder, 'bad.yml'),
      'terge: 1\nmodels: {a: ./a, b: ./b}\nmerge: {method: linear, models: [a, b]}\nchat_template: chatm\noutput: x1\n',
    )
    const { code, err, out } = await terge(['validate', 'bad.yml'], folder)
    assert.is(code, 2)
    assert.match(out + err, /there is no chat template 'chatm'/)
  }))

test.run()
