/** Tokenizers of every kind of file, through the real command: the rows of each token, and what is written beside them. */

import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { inFolder } from '../support/files.js'
import { terge } from '../support/terge.js'
import { jsonOf, matrix, valuesOf, weights, writeFolder } from './families.js'

const EMBEDDING = 'embeddings.word_embeddings.weight'

const write = (folder: string, name: string, rows: number, seed: number, files: object) =>
  writeFolder(path.join(folder, name), {
    'model.safetensors': weights({ [EMBEDDING]: matrix(seed, rows, 2), 'encoder.layer.0.w': matrix(seed + 1, 4) }),
    'config.json': { vocab_size: rows, pad_token_id: 0 },
    ...files,
  })

async function union(folder: string, tokenizer = 'union') {
  const text = `terge: 1\nmodels: {a: ./a, b: ./b}\nmerge: {method: linear}\ntokenizer: ${tokenizer}\noutput: out\n`
  writeFileSync(path.join(folder, 'r.yaml'), text)
  const { code, err } = await terge(['run', 'r.yaml', '--no-sync', '--force'], folder)
  assert.is(code, 0, err)
  const rows = (model: string) => valuesOf(path.join(folder, model, 'model.safetensors'), EMBEDDING)
  return {
    out: path.join(folder, 'out'),
    /** Row `to` of the result is the mean of the models' rows; of one, where the other has none. */
    follows(to: number, ...from: (readonly [model: string, row: number])[]) {
      const made = rows('out').slice(2 * to, 2 * to + 2)
      const parts = from.map(([model, row]) => rows(model).slice(2 * row, 2 * row + 2))
      const wanted = parts[0]!.map((value, at) => (parts[1] ? Math.fround((value + parts[1][at]!) / 2) : value))
      assert.equal(made, wanted, `row ${to}`)
    },
  }
}

test('vocab.txt of BERT', () =>
  inFolder(async (folder) => {
    write(folder, 'a', 3, 1, { 'vocab.txt': '[PAD]\nx\n##y\n' })
    write(folder, 'b', 4, 11, { 'vocab.txt': '[PAD]\nz\nx\n##w\n' })
    const { out, follows } = await union(folder)
    assert.is(readFileSync(path.join(out, 'vocab.txt'), 'utf8'), '[PAD]\nx\n##y\nz\n##w\n')
    assert.equal(jsonOf(out, 'config.json'), { vocab_size: 5, pad_token_id: 0 })
    follows(0, ['a', 0], ['b', 0])
    follows(1, ['a', 1], ['b', 2])
    follows(2, ['a', 2])
    follows(3, ['b', 1])
    follows(4, ['b', 3])
    const other = await union(folder, 'b')
    assert.is(readFileSync(path.join(out, 'vocab.txt'), 'utf8'), '[PAD]\nz\nx\n##w\n')
    other.follows(1, ['b', 1])
    other.follows(2, ['a', 1], ['b', 2])
  }))

test('plan shows the vocabulary: its size, the tokens of each model, and where rows come from', () =>
  inFolder(async (folder) => {
    write(folder, 'a', 4, 1, { 'vocab.txt': '[PAD]\nx\n##y\n' })
    write(folder, 'b', 4, 11, { 'vocab.txt': '[PAD]\nz\nx\n##w\n' })
    const text = [
      'terge: 1',
      'models: {a: ./a, b: ./b}',
      'merge: {method: linear}',
      'tokenizer: {source: union, tokens: {"##w": {source: {kind: zero}}, x: {source: b, force: true}}}',
      'output: out',
    ]
    writeFileSync(path.join(folder, 'r.yaml'), text.join('\n'))
    const tree = await terge(['plan', 'r.yaml'], folder)
    assert.is(tree.code, 0, tree.err)
    assert.match(
      tree.out,
      `├─ vocabulary (union): 5 tokens, 2 of them added to those of a; 5 rows of embeddings
│  ├─ a: has 3 tokens, 1 of them alone
│  │  └─ embedding rows of tokens: 2 own, 2 from b, 1 zero
│  └─ b: has 4 tokens, 2 of them alone
│     └─ embedding rows of tokens: 4 own, 1 from a
`,
    )
    const { tokenizer, tokenSources } = JSON.parse((await terge(['plan', 'r.yaml', '--json'], folder)).out)
    assert.equal([tokenizer.source, tokenizer.tokens, tokenizer.rows, tokenizer.added], ['union', 5, 5, 2])
    assert.equal(tokenSources, {
      a: { only: 1, from: { a: 2, b: 2 }, means: 0, zeros: 1 },
      b: { only: 2, from: { a: 1, b: 4 }, means: 0, zeros: 0 },
    })
    assert.not.match((await terge(['plan', 'r.yaml', '--set', 'tokenizer=base'], folder)).out, '2 of them added')
  }))

test('files that say the same vocabulary differently stay together', () =>
  inFolder(async (folder) => {
    const tokenizer = (vocab: Record<string, number>, added: object[]) => ({
      added_tokens: added,
      model: { type: 'WordPiece', vocab },
    })
    const special = { special: true, lstrip: false, rstrip: false, normalized: false, single_word: false }
    write(folder, 'a', 3, 1, {
      'vocab.txt': '[PAD]\nx\n',
      'tokenizer.json': tokenizer({ '[PAD]': 0, x: 1 }, [{ id: 2, content: '<a>', ...special }]),
      'tokenizer_config.json': { added_tokens_decoder: { 2: { content: '<a>', ...special } } },
      'special_tokens_map.json': { pad_token: '[PAD]' },
    })
    write(folder, 'b', 2, 11, { 'tokenizer.json': tokenizer({ y: 0 }, [{ id: 1, content: '<b>', ...special }]) })
    const { out } = await union(folder)
    const { model, added_tokens } = jsonOf(out, 'tokenizer.json')
    assert.equal(model.vocab, { '[PAD]': 0, x: 1, '<a>': 2, y: 3 })
    const ids = [
      ['<a>', 2],
      ['<b>', 4],
    ]
    assert.equal(
      added_tokens.map(({ content, id }: { content: string; id: number }) => [content, id]),
      ids,
    )
    const { added_tokens_decoder: decoder } = jsonOf(out, 'tokenizer_config.json')
    assert.equal(
      Object.entries(decoder as Record<string, { content: string }>).map(([id, { content }]) => [content, Number(id)]),
      ids,
    )
    assert.equal(jsonOf(out, 'special_tokens_map.json'), { pad_token: '[PAD]' })
    // The smaller vocabulary of another file would contradict it.
    assert.is(existsSync(path.join(out, 'vocab.txt')), false)
  }))

test('sizes and ids in the configuration of a text part follow', () =>
  inFolder(async (folder) => {
    const config = (rows: number, eos: number) => ({
      'config.json': { image_token_index: 1, text_config: { vocab_size: rows, eos_token_id: eos, hidden_size: 2 } },
    })
    write(folder, 'a', 3, 1, { 'vocab.txt': '<pad>\n<image>\n<eos>\n', ...config(3, 2) })
    write(folder, 'b', 4, 11, {
      'vocab.txt': '<eos>\nx\n<pad>\n<image>\n',
      'config.json': { text_config: { eos_token_id: 0 } },
    })
    const { out } = await union(folder, 'b')
    assert.equal(jsonOf(out, 'config.json'), {
      image_token_index: 3,
      text_config: { vocab_size: 4, eos_token_id: 0, hidden_size: 2 },
    })
    await union(folder)
    assert.equal(jsonOf(out, 'config.json'), {
      image_token_index: 1,
      text_config: { ...config(4, 2)['config.json'].text_config },
    })
  }))

test('sizes and ids follow in every part of the configuration that has the vocabulary', () =>
  inFolder(async (folder) => {
    const config = (rows: number, eos: number) => ({
      'config.json': {
        language_config: { vocab_size: rows, eos_token_id: eos },
        thinker_config: { text_config: { vocab_size: rows } },
        decoder: { vocab_size: rows },
        qformer_config: { vocab_size: 7, pad_token_id: 0 },
      },
    })
    write(folder, 'a', 3, 1, { 'vocab.txt': '<pad>\n<image>\n<eos>\n', ...config(3, 2) })
    write(folder, 'b', 4, 11, { 'vocab.txt': '<eos>\nx\n<pad>\n<image>\n', ...config(4, 0) })
    for (const [first, eos] of [
      ['b', 0],
      ['union', 2],
    ] as const) {
      const { out } = await union(folder, first)
      assert.equal(jsonOf(out, 'config.json'), config(4, eos)['config.json'], first)
    }
  }))

test('a SentencePiece model alone', () =>
  inFolder(async (folder) => {
    const model = (...pieces: string[]) =>
      Buffer.concat(
        pieces.map((piece) =>
          Buffer.concat([Buffer.from([0x0a, piece.length + 2, 0x0a, piece.length]), Buffer.from(piece)]),
        ),
      )
    write(folder, 'a', 2, 1, { 'tokenizer.model': model('<s>', 'x') })
    write(folder, 'b', 2, 11, { 'tokenizer.model': model('y', 'x') })
    const { out, follows } = await union(folder)
    assert.equal(readFileSync(path.join(out, 'tokenizer.model')), model('<s>', 'x'))
    assert.equal(jsonOf(out, 'added_tokens.json'), { y: 2 })
    follows(0, ['a', 0])
    follows(1, ['a', 1], ['b', 1])
    follows(2, ['b', 0])
  }))

test.run()
