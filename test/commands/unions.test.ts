/** Every tokenizer that terge writes, loaded by other programs, gives the ids that the rows have. */

import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { inFolder } from '../support/files.js'
import { terge } from '../support/terge.js'
import { type Document, idsInJavaScript, idsInRust } from '../support/tokenizers.js'
import { jsonOf, matrix, valuesOf, weights, writeFolder } from './families.js'

const EMBEDDING = 'model.embed_tokens.weight'
const WIDTH = 3

const added = (content: string, id: number, special = true) => ({
  ...{ id, content, single_word: false, lstrip: false, rstrip: false, normalized: !special, special },
})

const bpe = (pieces: Record<string, number>, merges: string[], more: object[] = []): Document =>
  ({
    version: '1.0',
    ...{ truncation: null, padding: null, added_tokens: more, normalizer: null, pre_tokenizer: null },
    ...{ post_processor: null, decoder: null },
    model: {
      ...{ type: 'BPE', dropout: null, unk_token: null, continuing_subword_prefix: null, end_of_word_suffix: null },
      ...{ fuse_unk: false, byte_fallback: false, ignore_merges: false, vocab: pieces, merges },
    },
  }) as unknown as Document

const placed = (pieces: readonly string[]): Record<string, number> =>
  Object.fromEntries(pieces.map((piece, id) => [piece, id]))

function write(folder: string, name: string, document: Document | undefined, rows: number, more: object = {}): void {
  const seed = name.charCodeAt(0)
  writeFolder(path.join(folder, name), {
    'model.safetensors': weights({
      [EMBEDDING]: matrix(seed, rows, WIDTH),
      'model.layers.0.w': matrix(seed + 1, 4),
    }),
    'config.json': { vocab_size: rows },
    ...(document ? { 'tokenizer.json': document } : {}),
    ...more,
  })
}

async function run(folder: string, tokenizer: string, models: readonly string[] = ['a', 'b']) {
  const named = models.map((name) => `${name}: ./${name}`).join(', ')
  const text = `terge: 1\nmodels: {${named}}\nmerge: {method: linear}\n${tokenizer}\noutput: out\n`
  writeFileSync(path.join(folder, 'r.yaml'), text)
  return terge(['run', 'r.yaml', '--no-sync', '--force'], folder)
}

/**
 * Loads the result as both libraries do, and holds each token's row against the models' rows for it, found through the ids that
 * they have once loaded: own, else the first model's, else the only one's, else the average.
 */
function check(folder: string, models: readonly string[], chosen: readonly string[] = []): Map<string, number> {
  const written = jsonOf(path.join(folder, 'out'), 'tokenizer.json') as Document
  const ids = idsInRust(written)
  assert.equal([...idsInJavaScript(written)].sort(), [...ids].sort())
  assert.is(new Set(ids.values()).size, ids.size, 'two tokens share an id')
  const rows = valuesOf(path.join(folder, 'out/model.safetensors'), EMBEDDING)
  assert.is(jsonOf(path.join(folder, 'out'), 'config.json').vocab_size * WIDTH, rows.length)
  const read = models.map((name) => {
    const file = path.join(folder, name, 'tokenizer.json')
    const ids = existsSync(file) ? idsInRust(jsonOf(path.join(folder, name), 'tokenizer.json')) : undefined
    return { ids, values: valuesOf(path.join(folder, name, 'model.safetensors'), EMBEDDING) }
  })
  for (const [token, id] of ids) {
    if (chosen.includes(token)) continue
    const own = read.map(({ ids, values }) => {
      const row = (ids ?? read[0]!.ids!).get(token)
      return row === undefined || row * WIDTH >= values.length ? undefined : values[row * WIDTH + 1]!
    })
    const have = own.filter((value) => value !== undefined)
    assert.ok(have.length > 0, `${token} of no model`)
    const fill = own[0] ?? have.reduce((sum, value) => sum + value, 0) / have.length
    const wanted = own.reduce<number>((sum, value) => sum + (value ?? fill), 0) / own.length
    assert.ok(
      Math.abs(rows[id * WIDTH + 1]! - wanted) < 1e-5,
      `row of ${token}: ${rows[id * WIDTH + 1]}, not ${wanted}`,
    )
  }
  return ids
}

test('added tokens of the base keep their ids where pieces come behind them', () =>
  inFolder(async (folder) => {
    write(folder, 'a', bpe(placed(['x', 'y', 'xy']), ['x y'], [added('<s>', 3), added('<p>', 4, false)]), 5)
    write(folder, 'b', bpe(placed(['y', 'z', 'yz', '<q>']), ['y z'], [added('<q>', 3), added('<p>', 4)]), 5, {
      'tokenizer_config.json': '{"model_max_length": 1e30}',
    })
    const { code, err } = await run(folder, 'tokenizer: union')
    assert.is(code, 0, err)
    const ids = check(folder, ['a', 'b'])
    assert.equal(
      ['x', 'y', 'xy', '<s>', '<p>', 'z', 'yz', '<q>'].map((token) => ids.get(token)),
      [0, 1, 2, 3, 4, 5, 6, 7],
    )
    const { model } = jsonOf(path.join(folder, 'out'), 'tokenizer.json')
    assert.equal(model.merges, ['x y', 'y z'])
  }))

test('what else of tokenizer.json was there keeps its bytes', () =>
  inFolder(async (folder) => {
    write(folder, 'a', undefined, 2, {
      'tokenizer.json':
        '{ "version": "1.0", "big": 9007199254740993, "added_tokens": [],\n "model": {"type":"BPE", "vocab": {"x":0,"y":1}, "merges": [], "dropout": 0.0} }',
    })
    write(folder, 'b', bpe(placed(['z']), []), 1)
    const { code, err } = await run(folder, 'tokenizer: union')
    assert.is(code, 0, err)
    const text = readFileSync(path.join(folder, 'out/tokenizer.json'), 'utf8')
    assert.is(
      text,
      '{ "version": "1.0", "big": 9007199254740993, "added_tokens": [],\n "model": {"type":"BPE", "vocab": {"x":0,"y":1,"z":2}, "merges": [], "dropout": 0.0} }',
    )
  }))

test('random vocabularies: gaps, added tokens that are pieces, ids that no library reads, merges that lost a part', () =>
  inFolder(async (folder) => {
    let state = 7
    const random = (): number => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0
      return state / 2 ** 32
    }
    const below = (n: number): number => Math.floor(random() * n)
    const document = (): Document => {
      const letters = ['k', 'l', 'm', 'n', 'o'].filter(() => random() < 0.7)
      const pieces = letters.length > 0 ? letters : ['k']
      const merges: string[] = []
      for (let count = below(4); count > 0; count--) {
        const [left, right] = [pieces[below(pieces.length)]!, pieces[below(pieces.length)]!]
        if (pieces.includes(left + right)) continue
        pieces.push(left + right)
        merges.push(`${left} ${right}`)
      }
      const extra = ['<1>', '<2>', '<3>', 'kk', 'lm'].filter(() => random() < 0.4)
      if (extra[0] && random() < 0.4 && !pieces.includes(extra[0])) pieces.splice(below(pieces.length), 0, extra[0])
      let id = 0
      const vocab: Record<string, number> = {}
      for (const piece of pieces) {
        if (random() < 0.15) id += 2
        vocab[piece] = id++
      }
      return bpe(
        vocab,
        merges,
        extra.map((content, place) => added(content, pieces.length + place + below(2), random() < 0.5)),
      )
    }
    for (let round = 0; round < 9; round++) {
      const names = round % 3 === 0 ? ['a', 'b', 'c'] : ['a', 'b']
      for (const name of names) {
        const one = document()
        write(folder, name, one, Math.max(...idsInRust(one).values()) + 1)
      }
      const { code, err } = await run(folder, 'tokenizer: union', names)
      assert.is(code, 0, `round ${round}: ${err}`)
      check(folder, names)
    }
  }))

test('tokens that have no row are left out; those that only the recipe lists are added, with the rows of their sources', () =>
  inFolder(async (folder) => {
    write(folder, 'a', bpe(placed(['x', 'y']), [], [added('<s>', 2), added('<late>', 3), added('<pad>', 4)]), 3, {
      'tokenizer_config.json': {
        pad_token: '<pad>',
        added_tokens_decoder: { 3: added('<late>', 3), 4: added('<pad>', 4) },
      },
    })
    write(folder, 'b', bpe(placed(['y', 'z']), [], [added('<b>', 2), added('<past>', 3)]), 3)
    const tokens =
      '{"<new>": {source: {kind: model_token, model: b, token: z}}, "<b>": b, "<zero>": {source: {kind: zero}}}'
    const { code, err } = await run(folder, `tokenizer: {source: base, tokens: ${tokens}}`)
    assert.is(code, 0, err)
    assert.match(err, /warning tokens-without-rows: 1 token of a has no embedding row and is skipped, such as '<late>'/)
    const ids = idsInRust(jsonOf(path.join(folder, 'out'), 'tokenizer.json'))
    // The padding token is named by tokenizer_config.json: transformers would add it again.
    assert.equal(
      [...ids].sort(([, a], [, b]) => a - b),
      [
        ['x', 0],
        ['y', 1],
        ['<s>', 2],
        ['<pad>', 4],
        ['<new>', 5],
        ['<b>', 6],
        ['<zero>', 7],
      ],
    )
    assert.equal(Object.keys(jsonOf(path.join(folder, 'out'), 'tokenizer_config.json').added_tokens_decoder), [
      '2',
      '4',
      '5',
      '6',
      '7',
    ])
    const [made, b] = ['out', 'b'].map((name) => valuesOf(path.join(folder, name, 'model.safetensors'), EMBEDDING))
    for (const [row, from] of [
      [5, 1],
      [6, 2],
    ] as const)
      assert.equal(
        made!.slice(row * WIDTH, (row + 1) * WIDTH),
        b!.slice(from * WIDTH, (from + 1) * WIDTH),
        `row ${row}`,
      )
    assert.equal([...made!.slice(7 * WIDTH, 8 * WIDTH)], [0, 0, 0])
    // One that the recipe gives a row is there after all.
    const listed = await run(folder, `tokenizer: {source: base, tokens: {"<late>": {source: {kind: zero}}}}`)
    assert.is(listed.code, 0, listed.err)
    assert.not.match(listed.err, /tokens-without-rows/)
    const union = await run(folder, 'tokenizer: union')
    assert.is(union.code, 0, union.err)
    assert.match(union.err, /1 token of b has no embedding row .* '<past>'/)
  }))

test('a tokenizer that names a token in its configuration alone has it where transformers puts it', () =>
  inFolder(async (folder) => {
    write(folder, 'a', bpe(placed(['x', 'y']), []), 3, { 'tokenizer_config.json': { pad_token: '[PAD]' } })
    write(folder, 'b', bpe(placed(['y', 'z']), []), 2)
    const { code, err } = await run(folder, 'tokenizer: union')
    assert.is(code, 0, err)
    const ids = check(folder, ['a', 'b'], ['[PAD]'])
    assert.equal([ids.get('[PAD]'), ids.get('z')], [2, 3])
    const [made, a] = ['out', 'a'].map((name) => valuesOf(path.join(folder, name, 'model.safetensors'), EMBEDDING))
    assert.equal(made!.slice(2 * WIDTH, 3 * WIDTH), a!.slice(2 * WIDTH, 3 * WIDTH))
  }))

test('a model without a tokenizer: the base’s is taken where its rows are as many, else it is refused', () =>
  inFolder(async (folder) => {
    write(folder, 'a', bpe(placed(['x', 'y']), [], [added('<s>', 2)]), 3)
    write(folder, 'b', undefined, 3)
    const { code, err } = await run(folder, 'tokenizer: union')
    assert.is(code, 0, err)
    assert.match(
      err,
      /warning assumed-tokenizer: the model 'b' has no tokenizer: terge uses the tokenizer of 'a' for its 3 rows/,
    )
    assert.is(
      readFileSync(path.join(folder, 'out/tokenizer.json'), 'utf8'),
      readFileSync(path.join(folder, 'a/tokenizer.json'), 'utf8'),
    )
    check(folder, ['a', 'b'])
    write(folder, 'b', undefined, 4)
    const other = await run(folder, 'tokenizer: union')
    assert.is(other.code, 2)
    assert.match(other.err, /error no-tokenizer/)
  }))

test('rows that stand for other tokens and are merged row by row: a warning with the first of them', () =>
  inFolder(async (folder) => {
    write(folder, 'a', bpe(placed(['x', 'y', 'z']), [], [added('<s>', 3)]), 5)
    write(folder, 'b', bpe(placed(['x', 'z', 'y']), [], [added('<s>', 3), added('<more>', 4)]), 5)
    const { code, err } = await run(folder, '')
    assert.is(code, 0, err)
    assert.match(
      err,
      /warning other-tokens: a and b have different tokens in 2 of the 5 rows of model\.embed_tokens\.weight, which are merged row by row: row 1 is 'y' in a and 'z' in b; row 2 is 'z' in a and 'y' in b/,
    )
    const json = await terge(['run', 'r.yaml', '--no-sync', '--force', '--json'], folder)
    assert.match(json.out + json.err, 'other-tokens')
    // Nothing to say where rows follow their tokens, where the embedding is not merged, and of a token that one of them lacks.
    for (const more of ['tokenizer: union', 'filters: {exclude: ["/embed/"]}'])
      assert.not.match((await run(folder, more)).err, 'other-tokens')
    write(folder, 'b', bpe(placed(['x', 'y', 'z']), [], [added('<s>', 3), added('<more>', 4)]), 5)
    assert.not.match((await run(folder, '')).err, 'other-tokens')
  }))

test('ids far beyond the rows take no memory, and deep nesting is found before it is parsed', () =>
  inFolder(async (folder) => {
    write(folder, 'a', bpe(placed(['x', 'y']), []), 2)
    write(folder, 'b', bpe({ x: 0, far: 16_777_215 }, []), 2)
    const { code, err } = await run(folder, 'tokenizer: union')
    assert.is(code, 0, err)
    assert.match(err, /1 token of b has no embedding row .* 'far'/)
    assert.equal(
      [...check(folder, ['a', 'b'])],
      [
        ['x', 0],
        ['y', 1],
      ],
    )
    // A token that a configuration names stays, but not at any price.
    write(folder, 'a', bpe({ x: 0, far: 16_777_215 }, []), 2, { 'tokenizer_config.json': { pad_token: 'far' } })
    const far = await run(folder, 'tokenizer: base\nchat_template: chatml')
    assert.is(far.code, 2)
    assert.match(far.err, /error bad-tokenizer: a: 2 tokens have ids up to 16777215, far beyond the 2 rows/)
    write(folder, 'b', undefined, 2, { 'tokenizer.json': '['.repeat(3_000_000) })
    const deep = await run(folder, 'tokenizer: union')
    assert.is(deep.code, 2)
    assert.match(deep.err, /nested deeper than 100/)
  }))

test.run()
