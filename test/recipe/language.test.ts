/** Every key of the recipe language is accepted. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { formatDiagnostic } from '../../src/core/diagnostics.js'
import { loadRecipe } from '../../src/recipe/load.js'

const SHORT = `terge: 1
models:
  base: ./models/base
  hub: hf:org/math-7b@5d2f1c0
  rev: {hub: org/b, revision: 1234567}
  code:
    path: ./models/code.safetensors
    sha256: ${'0123456789abcdef'.repeat(4)}
    lora: ./adapter
    lora_scale: 0.5
    subfolder: unet
    strip_prefix: model.
    rename: [{from: "a.*", to: b}]
    statistics: ./fisher.safetensors
base: base
filters: {include: ["model.layers.**", "model.embed_tokens.weight"], exclude: "/norm\\\\.weight$/"}
rebasin:
  - {model: code, onto: base, method: weight-matching, spec: auto, symmetry: permutation, seed: 0, max_iterations: 100}
  - {model: hub, onto: base, spec: {tensors: {w: [a]}}, symmetry: orthogonal}
  - {models: [base, hub, rev], method: c2m3, spec: llama}
merge:
  method: task_arithmetic
  models: [hub, code, rev]
  weights: {hub: 0.6, code: [0, 0.4]}
  parameters: {lambda: [1, 0.5], normalize: false, lines: {alpha: 1, beta: 0.5}}
  on_missing: error
  on_mismatch: crop
  rules:
    - {match: "**.self_attn.**", method: slerp, models: [base, code], parameters: {t: [0, 0.5, 1]}}
    - {match: ["lm_head.weight", "/embed/"], weights: [1, 0, 2]}
repair: {batch_norm: correlation}
compute: float64
seed: 42
tokenizer: {source: union, tokens: {"<pad>": base}, pad_to_multiple_of: 64}
chat_template: chatml
output: {path: ./merged, dtype: bfloat16, shard_size: 5GB, metadata: {author: someone}}
evaluate: {command: ["node", "evaluate.mjs", "{model}"]}
`

const LONG = `terge: 1
models: {a: a.safetensors, b: b.safetensors, c: c.safetensors}
steps:
  b_aligned: {rebasin: {model: b, onto: a}}
  soup:      {merge: {method: linear, models: [a, b_aligned], base: a, filters: {include: x}}}
  repaired:  {repair: {model: soup, batch_norm: correlation}}
  way:       {interpolate: {from: a, to: c, points: 11, method: slerp, keep: false, evaluate: {command: [x]}}}
  tower:     {stack: [{model: a, layers: [0, 24]}, {model: b, layers: [20, 40]}]}
  small:     {extract: {lora: {from: soup, base: a, rank: 16}}}
  final:     {merge: {method: slerp, models: [repaired, c], parameters: {t: 0.3}}}
outputs:
  - {from: final, path: out.safetensors, dtype: f32}
  - {from: way, path: ./way}
  - {from: tower, path: ./tower}
  - {from: small, path: ./small}
`

for (const [name, text] of Object.entries({ SHORT, LONG }))
  test(`all keys of the ${name.toLowerCase()} form are valid`, () => {
    const { diagnostics } = loadRecipe('r.yml', { text })
    const errors = diagnostics.filter(({ severity }) => severity === 'error')
    assert.equal(errors.map(formatDiagnostic), [])
  })

test.run()
