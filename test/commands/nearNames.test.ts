import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { nearNames, nearNamesHint } from '../../src/core/names/nearNames.js'
import { f32, writeModel } from '../support/files.js'
import { terge } from '../support/terge.js'

const NAMES = [
  'lm_head.weight',
  'model.embed_tokens.weight',
  ...Array.from({ length: 12 }, (_, layer) =>
    ['input_layernorm', 'mlp.down_proj', 'mlp.up_proj', 'self_attn.k_proj', 'self_attn.q_proj'].map(
      (part) => `model.layers.${layer}.${part}.weight`,
    ),
  ).flat(),
]

const folder = mkdtempSync(path.join(os.tmpdir(), 'terge-near-'))
test.after(() => rmSync(folder, { recursive: true }))
for (const name of ['a', 'b'])
  writeModel(path.join(folder, `${name}.safetensors`), Object.fromEntries(NAMES.map((name) => [name, f32([1], [1])])))

/** The pattern, and the first name of the hint. */
const NEAREST = [
  ['**.self_atn.**', 'model.layers.0.self_attn.k_proj.weight'],
  ['**.self_atn.q_prj.**', 'model.layers.0.self_attn.q_proj.weight'],
  ['model.layers.*.mpl.*', 'model.layers.0.mlp.down_proj.weight'],
  ['*.layers.*.mlp.pu_*.weight', 'model.layers.0.mlp.up_proj.weight'],
  ['model.layers.3.mlp.dwn_proj.weight', 'model.layers.3.mlp.down_proj.weight'],
  ['layers.4.self_attn.q_proj.weight', 'model.layers.4.self_attn.q_proj.weight'],
  ['model.layers.12.mlp.up_proj.weight', 'model.layers.11.mlp.up_proj.weight'],
  ['**embed_tokns**', 'model.embed_tokens.weight'],
  ['lm_haed.**', 'lm_head.weight'],
  ['**.Embed_Tokens', 'model.embed_tokens.weight'],
  ['/layers\\.\\d+\\.self_atn/', 'model.layers.0.self_attn.k_proj.weight'],
  ['/^model\\.embd_tokens/', 'model.embed_tokens.weight'],
] as const

test('the nearest names of a pattern agree with most of its dotted parts', () => {
  for (const [pattern, name] of NEAREST) assert.is(nearNames(pattern, NAMES)[0], name, pattern)
  assert.equal(nearNames('x', []), [])
  assert.equal(nearNames('a.'.repeat(400), NAMES), [])
  assert.equal(nearNames('transformer.h.0.attn', NAMES), [])
  assert.match(nearNamesHint('zzz', NAMES)!, 'the first names are: lm_head.weight, model.embed_tokens.weight,')
})

test('a pattern that does not reach across parts is widened in the hint', () => {
  const meant = (pattern: string) => /did you mean '(.*)'\?$/.exec(nearNamesHint(pattern, NAMES) ?? '')?.[1]
  for (const [pattern, wider] of [
    ['*norm*', '**norm**'],
    ['*norm', '**norm**'],
    ['*.mlp.*', '**.mlp.**'],
    ['model.layers.*.mlp.*', 'model.layers.*.mlp.**'],
    ['*.q_proj.weight', '**.q_proj.weight'],
    ['self_attn', '**.self_attn.**'],
    ['layernorm', '**layernorm**'],
  ] as const)
    assert.is(meant(pattern), wider, pattern)
  assert.match(nearNamesHint('*norm*', NAMES)!, /^\* matches within one part of a name, \*\* across parts: /)
  assert.match(nearNamesHint('layernorm', NAMES)!, /^a pattern without \* is a whole name: /)
  // `**` where it does not help either.
  for (const pattern of ['*.mpl.*', '/nrm/', 'zzz', '**norms']) assert.is(meant(pattern), undefined, pattern)
})

const hintOf = (err: string) => /hint: nearest names: ([^,\n]+)/.exec(err)?.[1]

test('filters, rules, rename and inspect --filter give the nearest names as a hint', async () => {
  const models = (first: string) => `terge: 1\nmodels: {a: ${first}, b: b.safetensors}\noutput: out.safetensors\n`
  const plain = models('a.safetensors')
  for (const [pattern, name] of NEAREST) {
    const text = JSON.stringify(pattern)
    const recipes = [
      `${plain}merge: {method: linear, rules: [{match: ${text}, weights: [1, 2]}]}\n`,
      `${plain}filters: {include: [${text}]}\nmerge: {method: linear}\n`,
      `${plain}filters: {exclude: [${text}]}\nmerge: {method: linear}\n`,
      `${models(`{path: a.safetensors, rename: [{from: ${text}, to: x}]}`)}merge: {method: linear}\n`,
    ]
    for (const recipe of recipes) {
      writeFileSync(path.join(folder, 'r.yml'), recipe)
      const { code, err } = await terge(['validate', 'r.yml'], folder)
      assert.is(code, 2, recipe + err)
      assert.match(err, 'error no-match: ')
      assert.is(hintOf(err), name, recipe)
    }
    const { code, err } = await terge(['inspect', 'a.safetensors', '--filter', pattern], folder)
    assert.is(code, 2)
    assert.match(err, 'error unmatched-pattern: ')
    assert.is(hintOf(err), name, pattern)
  }
  writeFileSync(
    path.join(folder, 'r.yml'),
    `${models('{path: a.safetensors, strip_prefix: modle.}')}merge: {method: linear}\n`,
  )
  assert.is(hintOf((await terge(['validate', 'r.yml'], folder)).err), 'model.embed_tokens.weight')
})

test.run()
