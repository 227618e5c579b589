/** A model with another model's vocabulary, through the real command. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { bf16, inFolder, numbers, type RawTensor } from '../support/files.js'
import { terge } from '../support/terge.js'
import { type Files, jsonOf, matrix, valuesOf, weights, writeFolder } from './families.js'

const EMBEDDING = 'model.embed_tokens.weight'
const HEAD = 'lm_head.weight'

/** A tokenizer of whole words and characters, with marks of words as SentencePiece has them, or those of bytes. */
const tokenizer = (tokens: readonly string[], special: readonly string[], bytes: boolean) => ({
  version: '1.0',
  added_tokens: special.map((content) => ({
    ...{ id: tokens.indexOf(content), content, special: true },
    ...{ single_word: false, lstrip: false, rstrip: false, normalized: false },
  })),
  normalizer: bytes
    ? null
    : {
        type: 'Sequence',
        normalizers: [
          { type: 'Prepend', prepend: '▁' },
          { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
        ],
      },
  pre_tokenizer: bytes ? { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true } : null,
  post_processor: null,
  decoder: bytes ? { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true } : null,
  model: {
    ...{ type: 'BPE', dropout: null, unk_token: null, continuing_subword_prefix: null, end_of_word_suffix: null },
    ...{ fuse_unk: false, byte_fallback: false, ignore_merges: false },
    vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
    merges: [],
  },
})

const BASE = ['<s>', '</s>', '▁', 'a', 'b', 'c', 'd', '▁a', '▁b', 'e', 'f', 'g']
const DONOR = ['a', 'b', 'c', 'Ġ', 'Ġa', 'z', '<|begin|>', 'Ġdad', 'Ġb', 'ab', '<|end|>', '<|pad|>', 'e', 'f', 'g']
/** Rows of the base, by token of the donor. */
const SAME = [3, 4, 5, 2, 7, -1, 0, -1, 8, -1, 1, -1, 9, 10, 11]

const folderOf = (
  tensors: Readonly<Record<string, RawTensor>>,
  config: object,
  document: object,
  roles: object,
): Files => ({
  'model.safetensors': weights(tensors),
  'config.json': { model_type: 'llama', architectures: ['LlamaForCausalLM'], ...config },
  'tokenizer.json': document,
  'tokenizer_config.json': { tokenizer_class: 'PreTrainedTokenizerFast', ...roles },
})

function writeBase(folder: string, { tied = false, rows = 14, seed = 1 } = {}): void {
  const tensors = {
    [EMBEDDING]: matrix(seed, rows, 3),
    'model.norm.weight': matrix(seed + 5, 3),
    ...(tied ? {} : { [HEAD]: matrix(seed + 1, rows, 3) }),
  }
  const config = { vocab_size: rows, hidden_size: 3, tie_word_embeddings: tied, bos_token_id: 0, eos_token_id: [1] }
  writeFolder(folder, {
    ...folderOf(tensors, config, tokenizer(BASE, ['<s>', '</s>'], false), { bos_token: '<s>', eos_token: '</s>' }),
    'generation_config.json': { bos_token_id: 0, eos_token_id: 1, temperature: 0.5 },
  })
}

function writeDonor(folder: string, { tied = false, rows = 17 } = {}): void {
  const tensors = { [EMBEDDING]: matrix(31, rows, 4), ...(tied ? {} : { [HEAD]: matrix(32, rows, 4) }) }
  const config = {
    vocab_size: rows,
    hidden_size: 4,
    tie_word_embeddings: tied,
    bos_token_id: 6,
    eos_token_id: 10,
    pad_token_id: 11,
  }
  const roles = {
    bos_token: '<|begin|>',
    eos_token: { content: '<|end|>' },
    pad_token: '<|pad|>',
    chat_template: 'donor',
  }
  writeFolder(folder, folderOf(tensors, config, tokenizer(DONOR, ['<|begin|>', '<|end|>', '<|pad|>'], true), roles))
}

const rowsOf = (file: string, name: string, width: number): number[][] => {
  const values = valuesOf(file, name)
  return Array.from({ length: values.length / width }, (_, row) => [...values.subarray(row * width, (row + 1) * width)])
}

async function transplanted(folder: string, settings: string, more = '') {
  const text = `terge: 1\nmodels: {base: ./base, donor: ./donor}\ntokenizer: {source: donor, ${settings}}\noutput: {path: out, from: base${more}}\n`
  writeFileSync(path.join(folder, 'r.yaml'), text)
  const { code, err, out } = await terge(['run', 'r.yaml', '--no-sync', '--force'], folder)
  const file = path.join(folder, 'out', 'model.safetensors')
  return { code, err, out, file, rows: (name: string) => rowsOf(file, name, 3) }
}

const near = (a: readonly number[], b: readonly number[], what: string): void => {
  for (const [i, value] of a.entries()) assert.ok(Math.abs(value - b[i]!) < 1e-5, `${what}: ${a} is not ${b}`)
}
const meanOf = (rows: readonly (readonly number[])[], weigh: readonly number[] = rows.map(() => 1)): number[] =>
  rows[0]!.map((_, i) => rows.reduce((sum, row, at) => sum + weigh[at]! * row[i]!, 0) / weigh.reduce((a, b) => a + b))

test('shared tokens keep their rows, the others get what is asked for; files and ids are those of the donor', () =>
  inFolder(async (folder) => {
    writeBase(path.join(folder, 'base'))
    writeDonor(path.join(folder, 'donor'))
    const base = path.join(folder, 'base', 'model.safetensors')
    const check = (
      made: (name: string) => number[][],
      others: Readonly<Record<number, (own: number[][], name: string) => number[]>>,
    ) => {
      for (const name of [EMBEDDING, HEAD]) {
        const [own, rows] = [rowsOf(base, name, 3), made(name)]
        assert.is(rows.length, DONOR.length)
        for (const [at, row] of SAME.entries())
          if (row >= 0) assert.equal(rows[at], own[row], `${name}: ${DONOR[at]}`)
          else near(rows[at]!, (others[at] ?? others[-1]!)(own, name), `${name}: ${DONOR[at]}`)
      }
    }
    const zero = await transplanted(folder, 'missing: zero')
    assert.is(zero.code, 0, zero.err)
    check(zero.rows, { [-1]: () => [0, 0, 0] })
    assert.match(zero.err, 'donor has 2 embedding rows behind its last token')
    const out = path.join(folder, 'out')
    assert.equal(jsonOf(out, 'config.json'), {
      ...{ model_type: 'llama', architectures: ['LlamaForCausalLM'], vocab_size: 15, hidden_size: 3 },
      ...{ tie_word_embeddings: false, bos_token_id: 6, eos_token_id: 10, pad_token_id: 11 },
    })
    assert.equal(jsonOf(out, 'generation_config.json'), { bos_token_id: 6, eos_token_id: 10, temperature: 0.5 })
    assert.is(jsonOf(out, 'tokenizer_config.json').chat_template, 'donor')
    for (const name of ['tokenizer.json', 'tokenizer_config.json'])
      assert.equal(readFileSync(path.join(out, name)), readFileSync(path.join(folder, 'donor', name)))
    const { shared, approximated, filled, rows, residuals } = jsonOf(out, 'lineage.json').steps.transplant
    assert.equal([shared, approximated, filled, rows, residuals], [11, 4, 0, 15, undefined])

    check((await transplanted(folder, 'missing: mean')).rows, { [-1]: (own) => meanOf(own) })
    // The pieces of a word have the mark once. A special token without a counterpart is cut like any text.
    const subword = await transplanted(folder, 'missing: subword, subword_weights: {embedding: first, head: last}')
    assert.is(subword.code, 0, subword.err)
    const weighed = (pieces: readonly number[]) => (own: number[][], name: string) =>
      meanOf(
        pieces.map((row) => own[row]!),
        pieces.map((_, at) => (name === HEAD ? at + 1 : pieces.length - at)),
      )
    // No merges: every character is a piece, and the tokenizer skips those that are no token.
    check(subword.rows, { 5: weighed([2]), 7: weighed([2, 6, 3, 6]), 9: weighed([2, 3, 4]), 11: weighed([2, 3, 6]) })
    const padded = await transplanted(folder, 'missing: zero, pad_to_multiple_of: 8')
    assert.is(padded.rows(HEAD).length, 16)
    near(padded.rows(HEAD)[15]!, meanOf(rowsOf(base, HEAD, 3)), 'a row without a token')
    assert.match(padded.err, '1 row of the result has no token')
  }))

/** The sum of rows of the base that comes closest in the donor, by trying all pairs of shared rows. */
function bestPair(donor: number[][], x: readonly number[]): { atoms: number[]; weights: number[]; left: number } {
  const dot = (a: readonly number[], b: readonly number[]) => a.reduce((sum, value, i) => sum + value * b[i]!, 0)
  const shared = SAME.flatMap((row, at) => (row >= 0 ? [at] : []))
  const first = shared.reduce((best, at) => (Math.abs(dot(donor[at]!, x)) > Math.abs(dot(donor[best]!, x)) ? at : best))
  const along = dot(donor[first]!, x) / dot(donor[first]!, donor[first]!)
  const rest = x.map((value, i) => value - along * donor[first]![i]!)
  const others = shared.filter((at) => at !== first)
  const second = others.reduce((best, at) =>
    Math.abs(dot(donor[at]!, rest)) > Math.abs(dot(donor[best]!, rest)) ? at : best,
  )
  const [a, b] = [donor[first]!, donor[second]!]
  const determinant = dot(a, a) * dot(b, b) - dot(a, b) ** 2
  const weights = [
    (dot(a, x) * dot(b, b) - dot(b, x) * dot(a, b)) / determinant,
    (dot(b, x) * dot(a, a) - dot(a, x) * dot(a, b)) / determinant,
  ]
  const left = x.map((value, i) => value - weights[0]! * a[i]! - weights[1]! * b[i]!)
  return { atoms: [first, second], weights, left: Math.sqrt(dot(left, left) / dot(x, x)) }
}

test('omp approximates embedding and head apart, and the lineage has the error', () =>
  inFolder(async (folder) => {
    for (const tied of [false, true]) {
      writeBase(path.join(folder, 'base'))
      writeDonor(path.join(folder, 'donor'), { tied })
      const made = await transplanted(folder, 'missing: omp, k: 2')
      assert.is(made.code, 0, made.err)
      const donor = path.join(folder, 'donor', 'model.safetensors')
      const { residuals } = jsonOf(path.join(folder, 'out'), 'lineage.json').steps.transplant
      assert.equal(Object.keys(residuals), tied ? ['embedding'] : ['embedding', 'head'])
      for (const name of [EMBEDDING, HEAD]) {
        const own = rowsOf(path.join(folder, 'base', 'model.safetensors'), name, 3)
        // The embedding of a donor that ties its head is its head.
        const other = rowsOf(donor, tied ? EMBEDDING : name, 4)
        const errors = SAME.flatMap((row, at) => {
          if (row >= 0) return []
          const { atoms, weights, left } = bestPair(other, other[at]!)
          near(
            made.rows(name)[at]!,
            own[0]!.map((_, i) => weights[0]! * own[SAME[atoms[0]!]!]![i]! + weights[1]! * own[SAME[atoms[1]!]!]![i]!),
            `${name}: ${DONOR[at]}`,
          )
          return [{ token: DONOR[at]!, left }]
        })
        const found = residuals[name === HEAD && !tied ? 'head' : 'embedding']
        const worst = [...errors].sort((a, b) => b.left - a.left)
        near([found.max, found.mean], [worst[0]!.left, errors.reduce((sum, { left }) => sum + left, 0) / 4], name)
        assert.equal(
          [found.worst.map((one: { token: string }) => one.token), found.most],
          [worst.map(({ token }) => token), 2],
        )
      }
      assert.match(made.out + made.err, '11 rows copied, 4 rows by orthogonal matching pursuit; embedding residual')
    }
  }))

test('a tied model stays tied; more sums than rows or columns are not asked for', () =>
  inFolder(async (folder) => {
    writeBase(path.join(folder, 'base'), { tied: true })
    writeDonor(path.join(folder, 'donor'))
    for (const settings of ['missing: omp', 'missing: nearest', 'missing: nearest, nearest_weights: least_squares']) {
      const made = await transplanted(folder, settings)
      assert.is(made.code, 0, made.err)
      const values = made.rows(EMBEDDING).flat()
      assert.ok(
        values.every((value) => Math.abs(value) < 100),
        settings,
      )
      const lineage = jsonOf(path.join(folder, 'out'), 'lineage.json')
      assert.equal(Object.keys(lineage.tensors), [EMBEDDING, 'model.norm.weight'])
      assert.equal(Object.keys(lineage.steps.transplant.residuals), ['embedding'])
      assert.is(jsonOf(path.join(folder, 'out'), 'config.json').tie_word_embeddings, true)
    }
  }))

test('steps come first: a merged model gets the vocabulary, in shards and in the dtype that is asked for', () =>
  inFolder(async (folder) => {
    writeBase(path.join(folder, 'base'))
    writeBase(path.join(folder, 'tuned'), { seed: 3 })
    writeDonor(path.join(folder, 'donor'))
    const text = [
      'terge: 1',
      'models: {base: ./base, tuned: ./tuned, donor: ./donor}',
      'merge: {method: linear, models: [base, tuned]}',
      'tokenizer: {source: donor, missing: nearest, k: 3}',
      'output: {path: out, shard_size: 1000}',
    ]
    writeFileSync(path.join(folder, 'r.yaml'), text.join('\n'))
    const { code, err } = await terge(['run', 'r.yaml', '--no-sync'], folder)
    assert.is(code, 0, err)
    assert.ok(existsSync(path.join(folder, 'out', 'lineage.json')))
    const lineage = jsonOf(path.join(folder, 'out'), 'lineage.json')
    assert.equal(
      lineage.tensors[EMBEDDING].sources.map(({ model }: { model: string }) => model),
      ['merge', 'donor'],
    )
    assert.is((await terge(['verify', 'out'], folder)).code, 0)
    assert.is((await terge(['report', 'out'], folder)).code, 0)
  }))

test('what has no rows or no common token is refused; keys without effect too', () =>
  inFolder(async (folder) => {
    writeBase(path.join(folder, 'base'))
    writeDonor(path.join(folder, 'donor'))
    const refuse = async (settings: string, message: RegExp | string) => {
      const { code, err } = await transplanted(folder, settings)
      assert.is(code, 2, settings)
      assert.match(err, message)
    }
    await refuse('k: 3', "contradiction: 'k' has no effect without missing")
    await refuse('missing: mean, k: 3', "contradiction: 'k' has no effect with missing: mean")
    await refuse('missing: omp, tokens: {a: base}', 'contradiction: tokens and missing')
    await refuse('missing: omp, source: base', 'duplicate-key')
    await refuse('missing: best', 'bad-value')
    writeFolder(path.join(folder, 'donor'), {
      'tokenizer.json': tokenizer(['x', 'y'], [], true),
      'tokenizer_config.json': {},
    })
    await refuse('missing: omp', 'no-shared-tokens: base and donor have no token in common')
    writeFolder(path.join(folder, 'donor'), { 'model.safetensors': weights({ other: matrix(1, 3, 3) }) })
    await refuse('missing: zero', "no-token-rows: 'donor' is without a token embedding")
  }))

test('bytes of rows are copied in a dtype of 16 bits', () =>
  inFolder(async (folder) => {
    writeBase(path.join(folder, 'base'))
    writeDonor(path.join(folder, 'donor'))
    const narrow = bf16([14, 3], numbers(42, 9))
    writeFolder(path.join(folder, 'base'), { 'model.safetensors': weights({ [EMBEDDING]: narrow }) })
    writeFolder(path.join(folder, 'base'), {
      'config.json': { ...jsonOf(path.join(folder, 'base'), 'config.json'), tie_word_embeddings: true },
    })
    const { code, err, file } = await transplanted(folder, 'missing: omp, k: 2')
    assert.is(code, 0, err)
    const bytes = readFileSync(file)
    const start = 8 + Number(bytes.readBigUInt64LE())
    const own = Buffer.from(narrow.bytes)
    for (const [at, row] of SAME.entries())
      if (row >= 0) assert.equal(bytes.subarray(start + 6 * at, start + 6 * at + 6), own.subarray(6 * row, 6 * row + 6))
  }))

test.run()
