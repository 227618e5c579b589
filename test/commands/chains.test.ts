import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { seeded } from '../recipe/helpers.js'
import { f32, inFolder, numbers, writeModel } from '../support/files.js'
import { terge } from '../support/terge.js'

const test = suite('chains of steps')

const values = (count: number, seed: number): number[] => {
  const random = seeded(seed)
  return Array.from({ length: count }, () => random(2001) / 1000 - 1)
}

/** Rows differ, so that crops come in. */
function writeModels(folder: string): void {
  for (const [index, [name, rows]] of [
    ['a', 7],
    ['b', 9],
    ['c', 7],
  ].entries())
    writeModel(path.join(folder, `${name}.safetensors`), {
      'embed.weight': f32([Number(rows), 5], values(Number(rows) * 5, index + 1)),
      'layers.0.w': f32([6, 5], values(30, index + 11)),
      'layers.1.w': f32([6, 5], values(30, index + 21)),
      bias: f32([5], values(5, index + 31)),
    })
}

const tensorsOf = (file: string): Buffer => {
  const bytes = readFileSync(file)
  return bytes.subarray(8 + Number(bytes.readBigUInt64LE(0)))
}

const fibonacci = (count: number, step: (before: string, earlier: string) => string): string =>
  Array.from({ length: count }, (_, i) => {
    const name = (n: number) => (n < 0 ? 'ba'[-n - 1]! : `s${n}`)
    return `  s${i}: {merge: ${step(name(i - 1), name(i - 2))}}\n`
  }).join('')

for (const [method, step] of [
  ['linear', (b: string, e: string) => `{method: linear, on_mismatch: crop, models: [${b}, ${e}]}`],
  ['slerp', (b: string, e: string) => `{method: slerp, models: [${b}, ${e}], parameters: {t: 0.3}}`],
  ['task_arithmetic', (b: string, e: string) => `{method: task_arithmetic, base: ${b}, models: [${e}, c]}`],
] as const)
  test(`200 steps of ${method} that use the two before them are planned, run, recorded and verified`, () =>
    inFolder(async (folder) => {
      writeModels(folder)
      const recipe = path.join(folder, 'r.yml')
      const models = 'models: {a: a.safetensors, b: b.safetensors, c: c.safetensors}'
      const steps = fibonacci(200, step)
      writeFileSync(recipe, `terge: 1\n${models}\nsteps:\n${steps}output: {from: s199, path: out.safetensors}\n`)
      for (const args of [['plan'], ['plan', '--json'], ['plan', '--format', 'dot'], ['run']]) {
        const ran = await terge([args[0]!, recipe, ...args.slice(1)], folder)
        assert.is(ran.code, 0, ran.err)
        assert.ok(ran.out.length < 2e6)
      }
      const file = path.join(folder, 'out.lineage.json')
      assert.ok(readFileSync(file).length < 2e6)
      assert.is((await terge(['verify', file], folder)).code, 0)
      const report = await terge(['report', file, '--format', 'terge'], folder)
      assert.is(report.code, 0, report.err)
      assert.ok(JSON.parse(report.out).bias)
    }))

test('an adapter is extracted of a result of steps that use the two before them', () =>
  inFolder(async (folder) => {
    writeModels(folder)
    const recipe = path.join(folder, 'r.yml')
    const steps = fibonacci(60, (b, e) => `{method: linear, on_mismatch: crop, models: [${b}, ${e}]}`)
    const extract = '  lora: {extract: {lora: {from: s59, base: s1, rank: 2}}}\n'
    const models = 'models: {a: a.safetensors, b: b.safetensors}'
    writeFileSync(recipe, `terge: 1\n${models}\nsteps:\n${steps}${extract}output: {from: lora, path: out}\n`)
    const { code, err } = await terge(['run', recipe], folder)
    assert.is(code, 0, err)
  }))

test('more merges of whole matrices within each other than a worker has room for are refused in planning', () =>
  inFolder(async (folder) => {
    writeModels(folder)
    const recipe = path.join(folder, 'r.yml')
    const steps = fibonacci(80, (b, e) => `{method: tsv_m, base: ${b}, models: [${e}, c]}`)
    const models = 'models: {a: a.safetensors, b: c.safetensors, c: c.safetensors}'
    writeFileSync(recipe, `terge: 1\n${models}\nsteps:\n${steps}output: {from: s79, path: out.safetensors}\n`)
    const { code, err } = await terge(['run', recipe], folder)
    assert.is(code, 2, err)
    assert.match(err, /error too-many-inputs: .* with \d+ nested merges of whole matrices/)
  }))

test('alignments in a chain of steps that use the two before them are refused before they double any further', () =>
  inFolder(async (folder) => {
    const weight = (seed: number) => f32([4, 4], numbers(16, seed))
    for (const [index, name] of ['a', 'b'].entries())
      writeModel(path.join(folder, `${name}.safetensors`), { 'x.weight': weight(index), 'y.weight': weight(index + 9) })
    const spec = '{groups: {g: 4}, tensors: {x.weight: [g, null], y.weight: [null, g]}}'
    for (const method of ['linear', 'dare_linear']) {
      const steps = Array.from({ length: 120 }, (_, i) => {
        const [last, before] = [i === 0 ? 'a' : `s${i - 1}`, i < 2 ? 'b' : `s${i - 2}`]
        const merge = `merge: {method: ${method}, base: ${last}, models: [${method === 'linear' ? `${last}, ` : ''}${before}]}`
        return `  s${i}: {${i % 2 ? `rebasin: {model: ${last}, onto: ${before}, spec: ${spec}}` : merge}}\n`
      })
      const models = 'models: {a: a.safetensors, b: b.safetensors}'
      const text = (count: number) =>
        `terge: 1\n${models}\nsteps:\n${steps.slice(0, count).join('')}output: {from: s${count - 1}, path: o.safetensors}\n`
      writeFileSync(path.join(folder, 'r.yml'), text(120))
      const { code, err } = await terge(['run', 'r.yml'], folder)
      assert.is(code, 2, err)
      assert.match(err, /error too-many-inputs: /)
      assert.not.match(err, /internal/)
      writeFileSync(path.join(folder, 'r.yml'), text(6))
      assert.is((await terge(['run', 'r.yml', '--force'], folder)).code, 0, method)
    }
  }))

/** Steps of random kinds over random earlier ones, as the recipe's text. */
function randomSteps(seed: number, count: number): { name: string; text: string; uses: string[] }[] {
  const random = seeded(seed)
  const known = ['a', 'b', 'c']
  return Array.from({ length: count }, (_, i) => {
    const pick = (): string => known[Math.max(0, known.length - 1 - random(4))]!
    const [one, other, base] = [pick(), pick(), pick()]
    const two = other === one ? known.find((name) => name !== one)! : other
    const third = base === one || base === two ? known.find((name) => name !== one && name !== two)! : base
    const crop = 'on_mismatch: crop, on_missing: copy'
    const text = [
      `{method: linear, ${crop}, base: ${third}, models: [${one}, ${two}], weights: [0.7, 0.3]}`,
      `{method: slerp, ${crop}, base: ${one}, models: [${one}, ${two}], parameters: {t: 0.4}}`,
      `{method: nuslerp, base: ${third}, models: [${one}, ${two}], parameters: {flatten: false, row_wise: true}}`,
      `{method: della, ${crop}, base: ${third}, models: [${one}, ${two}], parameters: {density: 0.6}}`,
      `{method: ties, ${crop}, base: ${third}, models: [${one}, ${two}], parameters: {density: 0.5}}`,
      `{method: tsv_m, ${crop}, base: ${third}, models: [${one}, ${two}]}`,
    ][random(6)]!
    const name = `s${i}`
    known.push(name)
    return { name, text, uses: [one, two, third] }
  })
}

for (const seed of [1, 2, 3, 4, 5, 6])
  test(`steps that share parts make what they make one by one, seed ${seed}`, () =>
    inFolder(async (folder) => {
      writeModels(folder)
      const steps = randomSteps(seed * 7919, 7)
      const models = ['a', 'b', 'c']
      const entry = (name: string) => `${name}: ${name}.safetensors`
      const text = steps.map(({ name, text }) => `  ${name}: {merge: ${text}}\n`).join('')
      const run = async (name: string, models: readonly string[], steps: string, from: string, to: string) => {
        const recipe = path.join(folder, name)
        const output = `output: {from: ${from}, path: ${to}}`
        writeFileSync(recipe, `terge: 1\nmodels: {${models.map(entry).join(', ')}}\nsteps:\n${steps}${output}\n`)
        const ran = await terge(['run', recipe], folder)
        assert.is(ran.code, 0, `${steps}${ran.err}`)
      }
      await run('whole.yml', models, text, steps.at(-1)!.name, 'whole.safetensors')
      for (const { name, text } of steps) {
        await run(`${name}.yml`, models, `  merged: {merge: ${text}}\n`, 'merged', `${name}.safetensors`)
        models.push(name)
      }
      const last = path.join(folder, `${steps.at(-1)!.name}.safetensors`)
      assert.ok(tensorsOf(last).equals(tensorsOf(path.join(folder, 'whole.safetensors'))), text)
    }))

test('steps that make too many tensors together are refused before they are planned', () =>
  inFolder(async (folder) => {
    writeModels(folder)
    const recipe = path.join(folder, 'r.yml')
    writeFileSync(
      recipe,
      `terge: 1\nmodels: {a: a.safetensors, b: b.safetensors}\nsteps:\n${Array.from(
        { length: 130 },
        (_, i) => `  p${i}: {interpolate: {from: a, to: b, points: 10001}}\n`,
      ).join('')}outputs: [${Array.from({ length: 130 }, (_, i) => `{from: p${i}, path: o${i}}`).join(', ')}]\n`,
    )
    const { code, err } = await terge(['plan', recipe], folder)
    assert.is(code, 2)
    assert.match(err, 'error plan-too-large: the steps of this recipe make 5200520 tensors')
  }))

test.run()
