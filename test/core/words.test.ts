import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { formatSize, parseSize } from '../../src/core/sizes.js'
import { didYouMean, nearest, quote } from '../../src/core/suggest.js'
import { agree, eitherOf, plural } from '../../src/core/words.js'

test('sizes are parsed in the units of the hub', () => {
  const sizes = {
    '5GB': 5e9,
    '5 gb': 5e9,
    '512MiB': 536870912,
    '1.5G': 15e8,
    '4096': 4096,
    '0': 0,
    '2KiB': 2048,
    '1T': 1e12,
    '7B': 7,
  }
  for (const [text, bytes] of Object.entries(sizes)) assert.is(parseSize(text), bytes, text)
  for (const text of ['', 'GB', '-1', '5XB', '5 G B', '1e9', '0x10', '99999999TB', '5constructor', '١GB', '1..5G'])
    assert.is(parseSize(text), undefined, text)
})

test('sizes are formatted with three digits', () => {
  const shown = [0, 999, 1000, 1234, 81_900_000, 999_499, 999_500, 15e8, 5e9, 123456789012, 2 ** 53].map(formatSize)
  assert.equal(shown, [
    '0 B',
    '999 B',
    '1.00 kB',
    '1.23 kB',
    '81.9 MB',
    '999 kB',
    '1.00 MB',
    '1.50 GB',
    '5.00 GB',
    '123 GB',
    '9.01 PB',
  ])
})

test('the nearest names are sorted by distance, then by the order of candidates', () => {
  assert.equal(nearest('wieghts', ['weights', 'heights', 'models']), ['weights'])
  assert.equal(nearest('bb', ['ab', 'cb', 'b', 'bbb']), ['ab', 'cb', 'b'])
  assert.equal(nearest('x', ['a', 'y']), [], 'a name that shares nothing was not meant')
  assert.equal(nearest('Linear', ['linear']), ['linear'])
  assert.equal(nearest('bf61', ['bf16', 'f16']), ['bf16'])
  assert.equal(nearest('x'.repeat(1e6), ['x']), [])
})

test('hints suggest the nearest name or list what is known', () => {
  assert.is(didYouMean('liner', ['linear', 'slerp']), "did you mean 'linear'?")
  assert.is(didYouMean('q', ['linear', 'slerp'], 'methods'), "methods: 'linear', 'slerp'")
  assert.is(didYouMean('q', []), undefined)
  const many = Array.from({ length: 20 }, (_, i) => `name${i}`)
  assert.match(didYouMean('q', many) ?? '', /'name11', and 8 more$/)
})

test('hints list each name once', () => {
  assert.is(didYouMean('q', ['base', 'union', 'base'], 'known here'), "known here: 'base', 'union'")
})

test('counts and lists in messages', () => {
  assert.equal(
    [0, 1, 2].map((count) => plural(count, 'file')),
    ['0 files', '1 file', '2 files'],
  )
  assert.is(plural(2, 'entry', 'entries'), '2 entries')
  assert.equal([agree(1, 'is', 'are'), agree(2, 'is', 'are')], ['is', 'are'])
  assert.equal([['a'], ['a', 'b'], ['a', 'b', 'c']].map(eitherOf), ['a', 'a or b', 'a, b or c'])
})

test('quoted names cannot control a terminal', () => {
  assert.is(quote('a\u001b[31m\nb\u202e'), "'a\ufffd[31m\ufffdb\ufffd'")
  assert.is(quote('x'.repeat(100)).length, 80)
})

test.run()
