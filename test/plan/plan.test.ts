/** Planning on real headers: what is merged, what is copied and why, and the faults that only headers can show. */
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { formatDiagnostic } from '../../src/core/diagnostics.js'
import type { MergeExpr } from '../../src/expr/types.js'
import { plan, validate } from '../../src/session/plan.js'
import { f32, i64, inFolder, numbers, type RawTensor, raw, writeModel } from '../support/files.js'

type Tensors = Readonly<Record<string, RawTensor>>

const layers = (seed: number, count = 4): Tensors =>
  Object.fromEntries([
    ...Array.from({ length: count }, (_, layer) => [`layers.${layer}.w`, f32([2, 3], numbers(6, seed + layer))]),
    ['head.weight', f32([3], numbers(3, seed + 99))],
  ])

async function planOf(models: Readonly<Record<string, Tensors>>, recipe: string) {
  return inFolder(async (folder) => {
    for (const [name, tensors] of Object.entries(models)) writeModel(path.join(folder, `${name}.safetensors`), tensors)
    const list = Object.keys(models).map((name) => `  ${name}: ${name}.safetensors`)
    const text = ['terge: 1', 'models:', ...list, recipe, ''].join('\n')
    const file = path.join(folder, 'r.yaml')
    writeFileSync(file, text)
    const { diagnostics, plan } = await validate(file, { name: 'r.yaml' })
    return { plan, faults: diagnostics.map(formatDiagnostic) }
  })
}

const merged = (method: string, more = '') => `merge: {method: ${method}${more}}\noutput: out.safetensors`

test('the plan is a frozen value with every tensor, its place and its expression', async () => {
  const { plan } = await planOf({ a: layers(1), b: layers(2) }, merged('linear', ', weights: [1, 3]'))
  assert.ok(Object.isFrozen(plan) && Object.isFrozen(plan!.outputs[0]!.tensors[0]))
  const [first, second] = plan!.outputs[0]!.tensors
  assert.equal([first!.name, second!.name], ['head.weight', 'layers.0.w'])
  const [[one], [two]] = [first!.placements, second!.placements]
  assert.is(two!.offset, one!.offset + one!.bytes)
  // The tensors lie in the order of writing, after 8 bytes of length and the header.
  const start = plan!.files[0]!.headerBytes
  const stored = { kind: 'stored', tensor: 'layers.0.w', dtype: 'F32', shape: second!.shape, offset: start, bytes: 24 }
  assert.equal(JSON.parse(JSON.stringify(second!.expr)), {
    kind: 'merge',
    step: 'merge',
    method: 'linear',
    models: ['a', 'b'],
    weights: [1, 3],
    parameters: { normalize: true },
    inputs: [
      { kind: 'read', view: { ...stored, file: 0 } },
      { kind: 'read', view: { ...stored, file: 1 } },
    ],
  })
  assert.equal(plan!.cost, { read: 2 * 108, write: 108 })
})

test('the digest depends only on what decides the bytes', async () => {
  const models = { a: layers(1), b: layers(2) }
  const digest = async (recipe: string) => (await planOf(models, recipe)).plan!.digest
  const one = await digest(merged('linear'))
  assert.is(await digest('merge: {method: arithmetic, weights: {b: 1}}\noutput: elsewhere.safetensors'), one)
  for (const other of [
    merged('linear', ', weights: [1, 2]'),
    `${merged('linear')}\ncompute: float64`,
    'merge: {method: linear}\noutput: {path: out.safetensors, dtype: bf16}',
    'merge: {method: linear}\noutput: {path: out.safetensors, metadata: {a: b}}',
  ])
    assert.is.not(await digest(other), one, other)
})

test('gradients span the layers of the base, with and without filters', async () => {
  const recipe = `filters: {include: "layers.*.w", exclude: layers.0.w}\n${merged('slerp', ', parameters: {t: [0, 1]}')}`
  const { plan } = await planOf({ a: layers(1), b: layers(2) }, recipe)
  const found = plan!.outputs[0]!.tensors.map(({ name, expr, reason }) => [
    name,
    reason ?? (expr.kind === 'merge' && expr.parameters.t),
  ])
  assert.equal(found, [
    ['head.weight', 'not-included'],
    ['layers.0.w', 'excluded'],
    ['layers.1.w', 1 / 3],
    ['layers.2.w', 2 / 3],
    ['layers.3.w', 1],
  ])
})

test('the first matching rule applies; models that lack a tensor or have another shape are skipped for it', async () => {
  const other: Tensors = {
    'layers.0.w': f32([3, 2], numbers(6, 5)),
    'layers.1.w': i64([2, 3], [1n, 2n, 3n, 4n, 5n, 6n]),
  }
  const recipe = `merge:
  method: linear
  weights: {a: 1, b: 2, c: 3}
  rules:
    - {match: layers.2.w, method: slerp, models: [a, b], parameters: {t: 0.25}}
    - {match: "layers.*.w", weights: {b: 5}}
output: out.safetensors`
  const { plan } = await planOf({ a: layers(1), b: layers(2), c: other }, recipe)
  const found = plan!.outputs[0]!.tensors.map(({ name, expr, rule, absent }) => {
    const { method, weights, models } = expr as MergeExpr
    return [name, rule, method, models, weights, absent?.map(({ model, reason }) => `${model} ${reason}`)]
  })
  assert.equal(found, [
    ['head.weight', -1, 'linear', ['a', 'b'], [1, 2], ['c missing']],
    ['layers.0.w', 1, 'linear', ['a', 'b'], [1, 5], ['c shape']],
    ['layers.1.w', 1, 'linear', ['a', 'b'], [1, 5], ['c dtype']],
    ['layers.2.w', 0, 'slerp', ['a', 'b'], [1, 1], undefined],
    ['layers.3.w', 1, 'linear', ['a', 'b'], [1, 5], ['c missing']],
  ])
})

test('tensors that too few models have, and integers, are copied from the base', async () => {
  const a: Tensors = { n: i64([1], [7n]), only: f32([1], [1]), both: f32([1], [2]) }
  const { plan } = await planOf({ a, b: { both: f32([1], [3]), n: i64([1], [9n]) } }, merged('linear'))
  const found = plan!.outputs[0]!.tensors.map(({ name, reason }) => [name, reason])
  assert.equal(found, [
    ['n', 'not-float'],
    ['both', undefined],
    ['only', 'too-few'],
  ])
})

test('a pattern that matches nothing is an error with the nearest names; one that never applies is a warning', async () => {
  const recipe = `filters: {exclude: head.weight}
merge:
  method: linear
  rules:
    - {match: layer.0.w, weights: [1, 2]}
    - {match: head.weight, weights: [1, 2]}
output: out.safetensors`
  const { plan, faults } = await planOf({ a: layers(1), b: layers(2) }, recipe)
  assert.is(plan, undefined)
  assert.equal(faults, [
    `r.yaml:9:15: error no-match: the pattern 'layer.0.w' matches no tensor of the base 'a'
      - {match: layer.0.w, weights: [1, 2]}
                ^^^^^^^^^
  hint: nearest names: layers.0.w, layers.1.w, layers.2.w`,
    `r.yaml:10:15: warning never-applies: the pattern 'head.weight' never applies: earlier rules and filters match the 1 tensor that it matches
      - {match: head.weight, weights: [1, 2]}
                ^^^^^^^^^^^
  hint: move the rule up, or remove it`,
  ])
})

test('a divisor of 0 from weights is reported once, with the tensor and the models', async () => {
  const { faults } = await planOf({ a: layers(1), b: layers(2) }, merged('linear', ', weights: {a: 0.3, b: -0.3}'))
  assert.equal(faults, [
    `r.yaml:5:25: error zero-weights: the weights of head.weight add up to 0 (a: 0.3, b: -0.3), but linear divides by their sum
  merge: {method: linear, weights: {a: 0.3, b: -0.3}}
                          ^^^^^^^
  hint: change the weights, or write parameters: {normalize: false}`,
  ])
})

test('on_missing and on_mismatch turn copies into errors', async () => {
  const other: Tensors = { ...layers(2, 3), 'layers.0.w': f32([3, 2], numbers(6, 5)) }
  const { faults } = await planOf(
    { a: layers(1), b: other, c: other },
    merged('linear', ', on_missing: error, on_mismatch: error'),
  )
  // Of each model the first, at the key that makes it one.
  assert.is(faults.length, 4)
  for (const model of ['b', 'c']) {
    const [missing, mismatch] = ['missing-tensor', 'tensor-mismatch'].map(
      (code) => faults.find((fault) => fault.includes(`error ${code}`) && fault.includes(`${model} `))!,
    )
    assert.match(
      mismatch!,
      `r.yaml:6:44: error tensor-mismatch: layers.0.w is F32[3, 2] in ${model} but F32[2, 3] in base a`,
    )
    assert.match(missing!, `r.yaml:6:25: error missing-tensor: ${model} has no tensor layers.3.w, which base a has`)
  }
})

test('if nothing is left to merge, the error says why', async () => {
  const { faults } = await planOf({ a: layers(1), b: { x: f32([1], [1]) } }, merged('linear'))
  assert.is(faults.length, 1)
  assert.match(faults[0]!, 'error nothing-to-merge: no tensor of a can be merged')
  assert.match(faults[0]!, 'copied from base: 5 tensors (too few models have it); b has no ')
  const other = await planOf({ a: { x: f32([2], [1, 2]) }, b: { x: f32([1], [1]) } }, merged('linear'))
  assert.match(other.faults[0]!, 'too few models have it); x is F32[1] in b but F32[2] in a')
})

test('FP8 can be read, but a result needs another dtype', async () => {
  const models = { a: { w: raw('F8_E4M3', [2], [0x38, 0x40]) }, b: { w: raw('F8_E4M3', [2], [0x30, 0x48]) } }
  const { faults } = await planOf(models, merged('linear'))
  assert.match(faults[0]!, 'error unwritable-dtype: w is F8_E4M3 in the base, which terge reads but does not write')
  const { plan } = await planOf(models, 'merge: {method: linear}\noutput: {path: out.safetensors, dtype: bf16}')
  assert.is(plan!.outputs[0]!.tensors[0]!.dtype, 'BF16')
})

test('a list with one value per model gets a warning that it is a gradient', async () => {
  const recipe = merged('task_arithmetic', ', base: a, models: [b, c], parameters: {lambda: [0.5, 1]}')
  const { faults } = await planOf({ a: layers(1), b: layers(2), c: layers(3) }, recipe)
  assert.is(faults.length, 1)
  assert.match(faults[0]!, 'warning list-is-gradient: lambda is a gradient over 4 layers')
  const flat = await planOf({ a: { w: f32([1], [1]) }, b: { w: f32([1], [2]) }, c: { w: f32([1], [3]) } }, recipe)
  assert.match(
    flat.faults[0]!,
    'lambda is a gradient over layers, and the models have none: its first value, 0.5, applies to every tensor',
  )
})

test('steps are fused: an inner merge is an expression of the outer one', async () => {
  const recipe = `steps:
  soup: {merge: {method: linear, models: [a, b]}}
  final: {merge: {method: slerp, models: [soup, c], parameters: {t: 0.3}}}
output: {from: final, path: out.safetensors}`
  const { plan, faults } = await planOf({ a: layers(1), b: layers(2), c: layers(3) }, recipe)
  assert.equal(faults, [])
  const { expr } = plan!.outputs[0]!.tensors[0]!
  assert.is(expr.kind === 'merge' && expr.step, 'final')
  assert.is(expr.kind === 'merge' && expr.inputs[0]!.kind === 'merge' && expr.inputs[0]!.step, 'soup')
  // slerp reads everything twice, its inner merge with it.
  assert.is(plan!.cost.read, 2 * 3 * 108)
})

test('a missing model is an error at its place, with the nearest name', async () => {
  await inFolder(async (folder) => {
    writeModel(path.join(folder, 'math.safetensors'), layers(1))
    const text =
      'terge: 1\nmodels: {a: math.safetensors, b: maths.safetensors}\nmerge: {method: linear}\noutput: o.safetensors\n'
    const { diagnostics } = await validate(path.join(folder, 'r.yaml'), { text, name: 'r.yaml' })
    const [only] = diagnostics.map(formatDiagnostic)
    assert.match(only!, 'r.yaml:2:34: error ')
    assert.match(only!, "hint: did you mean 'math.safetensors'?")
    let thrown: unknown
    await plan(path.join(folder, 'r.yaml'), { text }).catch((error: unknown) => {
      thrown = error
    })
    assert.is((thrown as { exit: number }).exit, 2)
  })
})

test.run()
