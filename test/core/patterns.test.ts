import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { compilePattern, type Pattern } from '../../src/core/patterns.js'

function pattern(text: string): Pattern {
  const compiled = compilePattern(text)
  if (compiled.kind === 'fault') throw new Error(compiled.message)
  return compiled
}
const matched = (text: string, names: string[]): string[] => names.filter(pattern(text).matches)

test('a plain string is the exact name', () => {
  assert.is(pattern('a.b').kind, 'exact')
  assert.equal(matched('a.b', ['a.b', 'axb', 'a.b.c', 'x.a.b', '']), ['a.b'])
  assert.equal(matched('/conv/weight', ['/conv/weight', 'conv']), ['/conv/weight'])
})

test('* matches within one part, ** across parts', () => {
  const names = ['model.layers.0.w', 'model.layers.12.w', 'model.layers.0.a.w', 'model.layers', 'model.layers.', 'w']
  assert.equal(matched('model.layers.*.w', names), names.slice(0, 2))
  assert.equal(matched('model.layers.**', names), [...names.slice(0, 3), 'model.layers.'])
  assert.equal(matched('model.layers.**.w', names), names.slice(0, 3))
  assert.equal(matched('*', names), ['w'])
  assert.equal(matched('**', names), names)
  assert.equal(matched('***', names), names)
  assert.equal(
    matched('**w', names),
    names.filter((name) => name.endsWith('w')),
  )
  assert.equal(matched('m*.l*s.*1*.w', names), ['model.layers.12.w'])
})

test('** beside a dot may match no part', () => {
  assert.equal(matched('**.w', ['w', 'a.w', 'a.b.w', 'aw', 'a.xw']), ['w', 'a.w', 'a.b.w'])
  assert.equal(matched('a.**.b', ['a.b', 'a.x.b', 'a.x.y.b', 'ab', 'a.xb', 'b']), ['a.b', 'a.x.b', 'a.x.y.b'])
  assert.equal(matched('**.self_attn.**', ['self_attn.q', 'x.self_attn.q.w', 'x.self_attn', 'not_self_attn.q']), [
    'self_attn.q',
    'x.self_attn.q.w',
  ])
})

test('dots and other special characters in globs match themselves', () => {
  assert.equal(matched('a+*', ['a+', 'aa', 'a+b']), ['a+', 'a+b'])
  assert.equal(matched('a.*', ['a.b', 'axb']), ['a.b'])
})

test('globs agree with the equivalent regular expression', () => {
  let state = 7
  const random = (n: number): number => {
    state = (state * 1103515245 + 12345) & 0x7fffffff
    return (state >> 8) % n
  }
  const word = (signs: string[], length: number) => Array.from({ length }, () => signs[random(signs.length)]).join('')
  for (let round = 0; round < 3000; round++) {
    const glob = word(['a', 'b', '.', '*', '**'], 1 + random(7))
    if (!glob.includes('*')) continue
    const source = glob
      .replace(/\*{2,}/g, '\u0001')
      .replace(/(^|\.)\u0001\./g, '$1\u0002')
      .replace(/(^|\.)\u0001\./g, '$1\u0002')
      .replace(/\./g, '\\.')
      .replace(/\*/g, '[^.]*')
      .replace(/\u0001/g, '.*')
      .replace(/\u0002/g, '(?:.*\\.)?')
    const oracle = new RegExp(`^${source}$`)
    for (let i = 0; i < 8; i++) {
      const name = word(['a', 'b', '.'], random(9))
      assert.is(pattern(glob).matches(name), oracle.test(name), `${glob} on ${name}`)
    }
  }
})

test('a glob with many stars is fast on a long name', () => {
  assert.is(pattern(`${'**a'.repeat(300)}b`).matches('a'.repeat(20_000)), false)
})

test('regular expressions match anywhere in the name', () => {
  assert.is(pattern('/norm\\.weight$/').kind, 'regex')
  assert.equal(matched('/norm\\.weight$/', ['x.norm.weight', 'norm.weight.x', 'norm_weight']), ['x.norm.weight'])
  assert.equal(matched('/^model\\.(\\d+)\\./', ['model.3.w', 'xmodel.3.w']), ['model.3.w'])
})

test('errors point at their place in the pattern', () => {
  const fault = (text: string) => {
    const found = compilePattern(text)
    return found.kind === 'fault' ? [found.message, text.slice(found.offset, found.offset + found.length)] : found.kind
  }
  assert.equal(fault(''), ['a pattern must not be empty', ''])
  assert.equal(fault('//'), ['the regular expression is empty', '//'])
  assert.equal(fault('/a[z-a]/'), ['invalid regular expression: invalid character class range', 'z-a'])
  assert.equal(fault('/a**/'), ['invalid regular expression: invalid nested repetition operator', '**'])
  assert.equal(
    fault('/x(?<!y)/')[0],
    'look-ahead and look-behind are not supported: regular expressions must run in linear time',
  )
  assert.equal(fault('/x{2000}/')[0], 'the regular expression is too large once its repetitions are expanded')
  assert.equal(fault(`/${'(?:.?)'.repeat(160)}{9}{9}/`)[0]?.slice(0, 26), 'invalid regular expression')
  assert.equal(fault('*'.repeat(2000))[0], 'a pattern must have at most 1000 characters')
})

test.run()
