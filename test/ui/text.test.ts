import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { formatCount } from '../../src/core/words.js'
import { formatSeconds, printable, printableText, table, toJson } from '../../src/ui/text.js'

test('names cannot control a terminal', () => {
  const hostile = 'a\u001b[2J\r\n\t\u009b31mb\u202ec\u2066d\u200be\u2028f\ud800g\u007f'
  const safe = printable(hostile)
  assert.is(safe, 'a\ufffd[2J\ufffd\ufffd\ufffd\ufffd31mb\ufffdc\ufffdd\ufffde\ufffdf\ufffdg\ufffd')
  assert.is(printable('model.层.0.wé😀'), 'model.层.0.wé😀')
  assert.is(printableText('a\u001b[1m\n\tb\r\u0085'), 'a\ufffd[1m\n\tb\ufffd\ufffd')
  for (let code = 0; code < 0x20; code++) assert.is(printable(String.fromCharCode(code)), '\ufffd')
})

test('figures', () => {
  assert.equal([0, 999, 1000, 1234567].map(formatCount), ['0', '999', '1,000', '1,234,567'])
  assert.equal([0, 0.44, 9.96, 59.7, 99.4, 99.6, 3599, 7261].map(formatSeconds), [
    '0.0 s',
    '0.4 s',
    '10.0 s',
    '60 s',
    '99 s',
    '1 min 40 s',
    '59 min 59 s',
    '2 h 1 min',
  ])
})

test('a table has aligned columns and no trailing spaces', () => {
  const text = table(
    [{ title: 'name' }, { title: 'size', align: 'right' }, { title: 'x' }],
    [
      ['a', '10 B', ''],
      ['longer', '1 B', 'y'],
    ],
  )
  assert.is(text, 'name    size  x\na       10 B\nlonger   1 B  y')
})

test('one long cell does not widen other rows', () => {
  const lines = table(
    [{ title: 'n' }, { title: 'x' }],
    [
      ['a'.repeat(1e6), '1'],
      ['b', '2'],
    ],
  ).split('\n')
  assert.is(lines[1]!.length, 1e6 + 3)
  assert.is(lines[2], `b${' '.repeat(101)}2`)
})

test('JSON of maps, typed arrays, NaN and infinities', () => {
  const value = { a: new Map([['x', 1]]), b: Float64Array.of(1, 2), c: Number.NaN, d: -Infinity, e: null }
  assert.is(toJson('\u001b\u009b\u202e\n'), '"\\u001b\\u009b\\u202e\\n"')
  assert.is(toJson(value, 0), '{"a":{"x":1},"b":[1,2],"c":"NaN","d":"-Infinity","e":null}')
})

test.run()
