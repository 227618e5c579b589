import { Buffer } from 'node:buffer'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Fault } from '../../src/core/diagnostics.js'
import { readTokenizer } from '../../src/tokenizers/read.js'
import type { Tokenizer } from '../../src/tokenizers/types.js'
import { unite } from '../../src/tokenizers/union.js'
import { tokenizerTexts as textsOf } from '../../src/tokenizers/write.js'

const tokenizerTexts = (tokenizer: Tokenizer): Readonly<Record<string, string>> => textsOf(tokenizer)!
const fromJson = (document: unknown): Tokenizer => readTokenizer({ 'tokenizer.json': JSON.stringify(document) }, 'm')
const bpe = (vocab: Record<string, number>, merges: unknown[] = [], added: unknown[] = []): Tokenizer =>
  fromJson({ version: '1.0', added_tokens: added, model: { type: 'BPE', unk_token: null, vocab, merges } })
const special = (content: string, id: number) => ({ id, content, special: true, lstrip: false })

/** A SentencePiece model of few pieces, scores 0, -1, -2, … */
function sentencePieces(pieces: readonly string[], type: number): Buffer {
  const field = (number: number, content: Uint8Array) =>
    Buffer.concat([Buffer.from([number * 8 + 2, content.length]), content])
  const list = pieces.map((piece, index) => {
    const score = Buffer.alloc(5, 0x15)
    score.writeFloatLE(-index, 1)
    return field(1, Buffer.concat([field(1, Buffer.from(piece)), score, Buffer.from([0x18, 1])]))
  })
  return Buffer.concat([...list, field(2, Buffer.from([0x18, type]))])
}

test('tokens of the first tokenizer keep their ids; new tokens and merges follow in the order of models and ids', () => {
  const first = bpe({ a: 0, b: 1, ab: 2 }, ['a b'], [special('<s>', 3)])
  const second = bpe(
    { c: 1, b: 0, a: 2, bc: 3, ab: 5 },
    [
      ['b', 'c'],
      ['a', 'b'],
    ],
    [special('<pad>', 4), special('<s>', 6)],
  )
  const third = bpe({ '1': 0, '0': 1, c: 2 }, ['a z'])
  const { tokenizer, gained } = unite(first, [second, third])
  assert.equal(gained, ['c', 'bc', '<pad>', '1', '0'])
  assert.equal([...tokenizer.ids], [...first.ids, ['c', 4], ['bc', 5], ['<pad>', 6], ['1', 7], ['0', 8]])
  assert.equal(tokenizer.merges, [
    ['a', 'b'],
    ['b', 'c'],
  ])
  const text = tokenizerTexts(tokenizer)['tokenizer.json']!
  // Tokens like numbers stay in the order of ids. Added tokens between pieces are pieces too, for the library reads no ids of them.
  assert.match(text, '"vocab":{"a":0,"b":1,"ab":2,"<s>":3,"c":4,"bc":5,"<pad>":6,"1":7,"0":8},"merges":["a b","b c"]')
  const again = readTokenizer({ 'tokenizer.json': text }, 'again')
  assert.equal([...again.ids].sort(), [...tokenizer.ids].sort())
  assert.equal(
    again.added.map(({ content, id, flags }) => [content, id, flags.special]),
    [
      ['<s>', 3, true],
      ['<pad>', 6, true],
    ],
  )
})

test('Unigram pieces are appended while ids are contiguous, and become added tokens after that', () => {
  const unigram = (vocab: unknown[], added: unknown[] = []) =>
    fromJson({ added_tokens: added, model: { type: 'Unigram', unk_id: 0, vocab } })
  const other = unigram([
    ['<unk>', 0],
    ['x', -1.5],
  ])
  const open = unite(
    unigram([
      ['<unk>', 0],
      ['a', -1],
    ]),
    [other],
  ).tokenizer
  assert.match(tokenizerTexts(open)['tokenizer.json']!, '"vocab":[["<unk>",0],["a",-1],["x",-1.5]]')
  const closed = unite(unigram([['<unk>', 0]], [special('<s>', 1)]), [other]).tokenizer
  assert.equal(
    closed.added.map(({ content, id }) => [content, id]),
    [
      ['<s>', 1],
      ['x', 2],
    ],
  )
  assert.is(readTokenizer(tokenizerTexts(closed), 'm').size, 3)
})

test('WordPiece, and vocab.json with merges.txt; tokens of another kind become added tokens', () => {
  const words = fromJson({ model: { type: 'WordPiece', vocab: { '[UNK]': 0, a: 1, '##b': 2 } } })
  const plain = readTokenizer(
    { 'vocab.json': '{"a":0,"b":1,"ab":2}', 'merges.txt': '#version: 0.2\na b\n', 'added_tokens.json': '{"<x>":3}' },
    'm',
  )
  assert.equal([plain.size, plain.merges], [4, [['a', 'b']]])
  const mixed = unite(plain, [words]).tokenizer
  const texts = tokenizerTexts(mixed)
  assert.is(texts['vocab.json'], '{"a":0,"b":1,"ab":2}\n')
  assert.is(texts['merges.txt'], '#version: 0.2\na b\n')
  assert.is(texts['added_tokens.json'], '{"<x>":3,"[UNK]":4,"##b":5}\n')
  const both = unite(words, [fromJson({ model: { type: 'WordPiece', vocab: { '##c': 0 } } })]).tokenizer
  assert.match(tokenizerTexts(both)['tokenizer.json']!, '"vocab":{"[UNK]":0,"a":1,"##b":2,"##c":3}')
})

test('vocab.txt has one piece per line, and new pieces follow at the end', () => {
  const read = (text: string, more: Record<string, string> = {}) => readTokenizer({ 'vocab.txt': text, ...more }, 'm')
  const first = read('[PAD]\r\n[UNK]\r\na\r\n##b\r\n')
  assert.equal(
    [first.kind, [...first.ids]],
    [
      'WordPiece',
      [
        ['[PAD]', 0],
        ['[UNK]', 1],
        ['a', 2],
        ['##b', 3],
      ],
    ],
  )
  const grown = unite(first, [read('[PAD]\nc\n##b\nd')]).tokenizer
  assert.equal(tokenizerTexts(grown), { 'vocab.txt': '[PAD]\n[UNK]\na\n##b\nc\nd\n' })
  const config = '{"added_tokens_decoder":{"2":{"content":"<x>","special":true}}}'
  const closed = unite(read('a\nb\n', { 'tokenizer_config.json': config }), [first]).tokenizer
  assert.equal(tokenizerTexts(closed), {
    'vocab.txt': 'a\nb\n',
    'added_tokens.json': '{"<x>":2,"[PAD]":3,"[UNK]":4,"##b":5}\n',
  })
  // Of two lines that are the same the later one counts, and no line moves.
  const twice = read('a\na\nb\n')
  assert.equal(
    [...twice.ids],
    [
      ['a', 1],
      ['b', 2],
    ],
  )
  assert.is(tokenizerTexts(unite(twice, [read('c\n')]).tokenizer)['vocab.txt'], 'a\na\nb\nc\n')
})

test('SentencePiece models are read and copied unchanged, and new tokens become added tokens', () => {
  const model = (pieces: readonly string[], type = 1) => sentencePieces(pieces, type).toString('latin1')
  const read = (text: string, config = {}) =>
    readTokenizer({ 'tokenizer.model': text, 'tokenizer_config.json': JSON.stringify(config) }, 'm')
  const first = read(model(['<unk>', '▁the', 'é'], 2))
  assert.equal(
    [first.kind, [...first.ids]],
    [
      'SentencePiece',
      [
        ['<unk>', 0],
        ['▁the', 1],
        ['é', 2],
      ],
    ],
  )
  const second = read(model(['<unk>', 'new']))
  assert.equal([second.kind, second.scores], ['Unigram', [0, -1]])
  const grown = unite(first, [second]).tokenizer
  assert.equal(tokenizerTexts(grown), { 'added_tokens.json': '{"new":3}\n' })
  // A Unigram tokenizer.json takes them as pieces.
  const unigram = fromJson({ model: { type: 'Unigram', vocab: [['<unk>', 0]] } })
  assert.match(
    tokenizerTexts(unite(unigram, [second]).tokenizer)['tokenizer.json']!,
    '"vocab":[["<unk>",0],["new",-1]]',
  )
  const sentinels = read(model(['<pad>', 'a']), { tokenizer_class: 'T5Tokenizer', extra_ids: 2 })
  assert.equal([...sentinels.ids].slice(2), [
    ['<extra_id_1>', 2],
    ['<extra_id_0>', 3],
  ])
  const refused = (text: string, config = {}) => {
    try {
      read(text, config)
    } catch (error) {
      return error instanceof Fault ? error.diagnostics[0]!.code : String(error)
    }
    return 'read'
  }
  assert.is(refused(model(['a']), { tokenizer_class: 'XLMRobertaTokenizer' }), 'bad-tokenizer')
  for (const extra_ids of [1e15, 1001, 100.5, -1, '100', null])
    assert.is(refused(model(['a']), { tokenizer_class: 'T5Tokenizer', extra_ids }), 'bad-tokenizer', `${extra_ids}`)
  // Each mutant is either an error or can be read.
  const honest = Buffer.from(model(['<unk>', '▁the', 'é']), 'latin1')
  let state = 1
  for (let round = 0; round < 20_000; round++) {
    const bytes = Buffer.from(honest)
    for (let change = 0; change < 2; change++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0
      bytes[state % bytes.length] = (state >>> 16) & 255
    }
    const cut = state % 3 === 0 ? bytes.subarray(0, (state >>> 8) % bytes.length) : bytes
    assert.ok(['read', 'bad-tokenizer'].includes(refused(cut.toString('latin1'))), `round ${round}`)
  }
})

test('damaged and hostile tokenizers are errors that name the model', () => {
  const texts = [
    '',
    '[]',
    '{}',
    '{"model":{"type":"Word2Vec","vocab":{}}}',
    '{"model":{"type":"BPE","vocab":[]}}',
    '{"model":{"type":"BPE","vocab":{"a":-1}}}',
    '{"model":{"type":"BPE","vocab":{"a":1e9}}}',
    '{"model":{"type":"BPE","vocab":{"a":0.5}}}',
    '{"model":{"type":"BPE","vocab":{"a":0},"merges":["ab"]}}',
    '{"model":{"type":"BPE","vocab":{"a":0},"merges":[["a"]]}}',
    '{"model":{"type":"Unigram","vocab":[["a"]]}}',
    '{"model":{"type":"BPE","vocab":{}},"added_tokens":[{"id":0}]}',
    '['.repeat(100_000),
    `{"model":{"type":"BPE","vocab":{}},"normalizer":${'['.repeat(100_000)}${']'.repeat(100_000)}}`,
  ]
  for (const text of texts)
    assert.throws(
      () => readTokenizer({ 'tokenizer.json': text }, 'm'),
      (error: unknown) => error instanceof Fault && error.diagnostics[0]!.code === 'bad-tokenizer',
      text.slice(0, 60),
    )
  const odd = readTokenizer(
    { 'tokenizer.json': '{"model":{"type":"BPE","vocab":{"__proto__":0,"constructor":1}}}' },
    'm',
  )
  assert.match(tokenizerTexts(odd)['tokenizer.json']!, '"vocab":{"__proto__":0,"constructor":1}')
})

test('lines are counted before they are split', () => {
  const empty = '\n'.repeat(4e6 + 1)
  for (const files of [{ 'vocab.txt': empty }, { 'vocab.json': '{}', 'merges.txt': empty }])
    assert.throws(() => readTokenizer(files, 'm'), /it has more than 4000000 lines/)
})

test('unions of generated vocabularies have every token once and keep ids', () => {
  let state = 7
  const below = (n: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * n)
  }
  const random = (): Tokenizer => {
    const vocab: Record<string, number> = {}
    const count = 1 + below(40)
    let id = 0
    for (let i = 0; i < count; i++) {
      const token = `t${below(60)}`
      if (!(token in vocab)) vocab[token] = id++
    }
    const tokens = Object.keys(vocab)
    const merges = Array.from({ length: below(20) }, () => [tokens[below(tokens.length)], tokens[below(tokens.length)]])
    return bpe(vocab, merges, [special(`<${below(5)}>`, id)])
  }
  for (let round = 0; round < 100; round++) {
    const [first, ...others] = [random(), random(), random()]
    const { tokenizer, gained } = unite(first!, others)
    for (const [token, id] of first!.ids) assert.is(tokenizer.ids.get(token), id)
    for (const other of others) for (const token of other.ids.keys()) assert.ok(tokenizer.ids.has(token))
    for (const [index, token] of gained.entries()) assert.is(tokenizer.ids.get(token), first!.size + index)
    assert.equal(tokenizer.merges.slice(0, first!.merges.length), first!.merges)
    const again = readTokenizer(tokenizerTexts(tokenizer), 'again')
    assert.equal([...again.ids].sort(), [...tokenizer.ids].sort())
    assert.equal(again.merges, tokenizer.merges)
    assert.is(unite(tokenizer, [first!, ...others]).gained.length, 0)
  }
})

test.run()
