/** Texts cut into tokens, against the ids of the library in Rust (test/fixtures/tokenizers, test/fixtures/moe/prompts.json). */
import { readFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { Encoder } from '../../src/tokenizers/encode.js'
import { openTokenizers } from '../../src/tokenizers/opened.js'

const text = (name: string): string => readFileSync(`test/fixtures/${name}`, 'utf8')
const openAll = async (files: Record<string, string>): Promise<Encoder> =>
  (await openTokenizers(new Map([['m', files]]), true, () => undefined)).encoder('m')!
const open = (document: string): Promise<Encoder> => openAll({ 'tokenizer.json': document })
const thrown = async (work: () => unknown): Promise<Error> => {
  try {
    await work()
  } catch (error) {
    return error as Error
  }
  throw new Error('nothing was refused')
}

interface Case {
  readonly model?: string
  readonly document?: object
  readonly texts: [string, number[]][]
}

for (const [name, { model, document, texts }] of Object.entries<Case>(JSON.parse(text('tokenizers/encode.json'))))
  test(`texts are cut as the library in Rust cuts them: ${name}`, async () => {
    const encoder = await open(model === undefined ? JSON.stringify(document) : text(`moe/in/${model}/tokenizer.json`))
    const found = encoder.ids(texts.map(([text]) => text))
    for (const [at, [text, ids]] of texts.entries()) assert.equal(found[at], ids, JSON.stringify(text))
  })

test('prompts with the text of a special token in them are cut as models get them', async () => {
  const prompts: Record<string, { text: string; ids: number[] }[]> = JSON.parse(text('moe/prompts.json'))
  for (const [model, list] of Object.entries(prompts)) {
    const encoder = await open(text(`moe/in/${model}/tokenizer.json`))
    assert.equal(
      encoder.ids(list.map(({ text }) => text)),
      list.map(({ ids }) => ids),
      model,
    )
  }
})

const llama = JSON.parse(text('moe/in/llama-base/tokenizer.json'))
const refusals: [string, object, RegExp][] = [
  [
    'a normalizer by a table',
    { normalizer: { type: 'Precompiled', precompiled_charsmap: '' } },
    /normalizer Precompiled/,
  ],
  ['words by \\w', { pre_tokenizer: { type: 'Whitespace' } }, /Whitespace is not supported/],
  [
    'cuts that join neighbours',
    { pre_tokenizer: { type: 'Split', pattern: { String: ' ' }, behavior: 'MergedWithNext', invert: false } },
    /MergedWithNext/,
  ],
  ['merges dropped at random', { model: { ...llama.model, dropout: 0.1 } }, /at random/],
  ['a vocabulary of words', { model: { type: 'WordLevel', vocab: { a: 0 }, unk_token: 'a' } }, /of type WordLevel/],
]
for (const [what, change, reason] of refusals)
  test(`refused: ${what}`, async () => {
    const { message } = await thrown(() => open(JSON.stringify({ ...llama, ...change })))
    assert.match(message, /^m: terge cannot cut texts with this tokenizer/)
    assert.match(message, reason)
  })

test('texts that libraries cut differently are refused', async () => {
  const encoder = await open(JSON.stringify(llama))
  for (const odd of ['a\u0085b', '\uFEFFa', '\uD800', 'a\u{10FFFE}'])
    assert.throws(() => encoder.ids([odd]), /^m: the text /)
  assert.throws(() => encoder.ids(['a'.repeat(1_000_001)]), /more than 1000000 characters/)
})

test('a model without tokenizer.json is refused', async () => {
  const { message } = await thrown(() => openAll({ 'vocab.txt': 'a\nb\n' }))
  assert.match(message, /only with a tokenizer.json/)
})

test.run()
