import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { compileRename } from '../../src/core/rename.js'

const renamed = (from: string, to: string, name: string): string | undefined => {
  const rule = compileRename(from, to)
  if (typeof rule !== 'function') throw new Error(rule.message)
  return rule(name)
}

test('a plain string must equal the whole name', () => {
  assert.is(renamed('lm_head.weight', 'head.weight', 'lm_head.weight'), 'head.weight')
  assert.is(renamed('lm_head.weight', 'head.weight', 'a.lm_head.weight'), undefined)
  assert.is(renamed('a.b', 'c', 'axb'), undefined)
})

test('stars are filled in order', () => {
  assert.is(renamed('h.*.attn.**', 'layers.*.self_attn.**', 'h.3.attn.c.weight'), 'layers.3.self_attn.c.weight')
  assert.is(renamed('h.*.w', 'all.w', 'h.3.w'), 'all.w')
  assert.is(renamed('h.*.w', 'x.*', 'h.3.4.w'), undefined)
  const rule = compileRename('a.*', '*.*')
  assert.is(typeof rule === 'object' && rule.message, 'the new name has 2 stars, but the pattern has 1')
})

test('every match of a regular expression is replaced, with numbered groups', () => {
  assert.is(renamed('/\\.(gamma|beta)$/', '.$1_', 'norm.gamma'), 'norm.gamma_')
  assert.is(renamed('/o/', '0', 'foo.o'), 'f00.0')
  assert.is(renamed('/x/', 'y', 'abc'), undefined)
  assert.is(renamed('/(a)/', '$2$1', 'a'), '$2a')
})

test('a hostile expression takes linear time', () => {
  assert.is(renamed('/(a|a)*$/', 'b', `${'a'.repeat(5000)}!`), `${'a'.repeat(5000)}!b`)
})

test.run()
