/** Adapters merged with each other, by what they change: against the real libraries, and in every factorization. */
import { cpSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { METHODS } from '../../src/methods/registry.js'
import { onAdapters } from '../../src/methods/shared/adapters.js'
import { mergedConfig } from '../../src/steps/merge/adapters/config.js'
import { matrix as linalg, svd } from '../reference/linalg.js'
import { matrix, stored, writeAdapter } from '../support/adapters.js'
import { bf16, f32, inFolder } from '../support/files.js'
import { changesOf, distance, tensorsOf } from '../support/lowRank.js'
import { fixture, terge } from '../support/terge.js'

const P = 'base_model.model.'

interface Case {
  readonly method: string
  readonly weights: readonly number[]
  readonly parameters: Readonly<Record<string, unknown>>
  readonly rank: number | null
  readonly kept: Readonly<Record<string, number>> | null
}

/** PEFT's own results, those of the authors of core-space merging, and products in float64. */
const CASES: readonly (readonly [folder: string, changes: string])[] = [
  ['merge-linear', 'changes'],
  ['merge-linear-conv', 'changes'],
  ['merge-linear-embedding', 'changes'],
  ['merge-linear-experts', 'changes'],
  ['merge-linear-patterns', 'changes'],
  ['merge-linear-rank', 'changes'],
  ['merge-core-iso', 'changes'],
  ['merge-core-tsv', 'changes'],
  ['merge-core-ties', 'changes-basis-of-the-changes'],
]

for (const [name, changes] of CASES)
  test(`${name}: the changes are those of the real library`, () =>
    inFolder(async (folder) => {
      const from = fixture(`merged-adapters/${name}`)
      const wanted = JSON.parse(readFileSync(path.join(from, 'merge.json'), 'utf8')) as Case
      const { method, weights, parameters, rank, kept } = wanted
      const models = Object.fromEntries(weights.map((_, i) => [`a${i}`, path.join(from, `a${i}`)]))
      const merge = { method, weights, parameters, ...(rank === null ? {} : { rank }) }
      writeFileSync(path.join(folder, 'r.yml'), JSON.stringify({ terge: 1, models, merge, output: 'out' }))
      const ran = await terge(['run', 'r.yml'], folder)
      assert.is(ran.code, 0, ran.err)
      const made = await changesOf(path.join(folder, 'out'))
      const known = await tensorsOf(path.join(from, `${changes}.safetensors`))
      assert.equal([...made.keys()].sort(), [...known.keys()].sort())
      for (const [module, { values }] of known) {
        const off = distance(made.get(module)!.values, values)
        assert.ok(off < 1e-7, `${module}: ${off}`)
      }
      if (!kept) return
      const { steps } = JSON.parse(readFileSync(path.join(folder, 'out/lineage.json'), 'utf8'))
      for (const [module, energy] of Object.entries(kept))
        assert.ok(Math.abs(steps.merge.adapters.modules[`${module}.weight`].energy - energy) < 1e-12)
      assert.match(ran.err + ran.out, 'keeps 73.8 % of the result (worst module 69.0 %)')
    }))

/** Adapters of one module of an [18, 14] weight; `mix` multiplies B by an invertible R and A by R⁻¹. */
function writeFactored(folder: string, ranks: readonly number[], mix: boolean): void {
  for (const [i, rank] of ranks.entries()) {
    const [a, b] = [matrix([rank, 14], 3 * i + 1).values, matrix([18, rank], 3 * i + 2).values]
    // R adds twice its neighbour to each column and scales the first by 4: exact enough in float64.
    const [mixedA, mixedB] = [Float64Array.from(a), Float64Array.from(b)]
    if (mix) {
      for (let k = 0; k + 1 < rank; k++) {
        for (let row = 0; row < 18; row++) mixedB[row * rank + k]! += 2 * mixedB[row * rank + k + 1]!
        for (let column = 0; column < 14; column++) mixedA[(k + 1) * 14 + column]! -= 2 * mixedA[k * 14 + column]!
      }
      for (let row = 0; row < 18; row++) mixedB[row * rank]! *= 4
      for (let column = 0; column < 14; column++) mixedA[column]! /= 4
    }
    const f64 = (shape: readonly number[], values: Float64Array) => ({
      dtype: 'F64',
      shape,
      bytes: new Uint8Array(values.buffer),
    })
    writeAdapter(
      path.join(folder, `${mix ? 'm' : 'p'}${i}`),
      {
        [`${P}l.0.q.lora_A.weight`]: f64([rank, 14], mixedA),
        [`${P}l.0.q.lora_B.weight`]: f64([18, rank], mixedB),
      },
      { r: rank, lora_alpha: 2 * rank, use_rslora: i === 1 },
    )
  }
}

test('every method gives the same change however B·A is factored, or is refused with the reason', () =>
  inFolder(async (folder) => {
    for (const mix of [false, true]) writeFactored(folder, [3, 2, 4], mix)
    for (const method of METHODS) {
      const { name, models, parameters, base } = method
      const count = name === 'passthrough' ? 1 : (models.most ?? 3) + (base === 'required' && models.most ? 0 : 0)
      const needed = parameters
        .filter((one) => one.default === undefined)
        .map((one) => `${one.name}: ${one.name === 'formula' ? 'mean(x)' : 0.3}`)
      const results: Float64Array[] = []
      for (const kind of ['p', 'm']) {
        const named = Array.from({ length: count }, (_, i) => `a${i}: ${kind}${i}`).join(', ')
        const out = `${kind}-${name}`
        const own = base === 'listed' ? 'base: a0\n' : ''
        writeFileSync(
          path.join(folder, 'r.yml'),
          `terge: 1\nmodels: {${named}}\n${own}merge: {method: ${name}, parameters: {${needed.join(', ')}}, rank: full}\noutput: ${out}\n`,
        )
        const ran = await terge(['run', 'r.yml', '--no-digests'], folder)
        const on = onAdapters(method)
        if (on.kind === 'refused') {
          assert.match(ran.err, `error adapter-method: ${name} can’t merge adapters: ${on.why}`)
          continue
        }
        assert.is(ran.code, 0, `${name}: ${ran.err}`)
        results.push((await changesOf(path.join(folder, out))).get('l.0.q')!.values)
      }
      const [plain, mixed] = results
      if (plain) assert.ok(distance(mixed!, plain) < 1e-6, `${name}: ${distance(mixed!, plain)}`)
    }
  }))

test('equal singular values: the choice among valid vectors depends only on what they span', () =>
  inFolder(async (folder) => {
    // Columns of a reflection are orthonormal: all changes have the singular value 1.
    const reflection = (size: number) => {
      const v = Float64Array.from(matrix([size], 5).values)
      const square = v.reduce((sum, x) => sum + x * x, 0)
      return (row: number, column: number) => (row === column ? 1 : 0) - (2 * v[row]! * v[column]!) / square
    }
    const [left, right] = [reflection(14), reflection(11)]
    const f64 = (shape: readonly number[], values: readonly number[]) => ({
      dtype: 'F64',
      shape,
      bytes: new Uint8Array(Float64Array.from(values).buffer),
    })
    for (const mix of [false, true])
      for (const i of [0, 1, 2]) {
        const [b, a] = [
          Array.from({ length: 28 }, (_, at) => left(Math.floor(at / 2), 2 * i + (at % 2))),
          Array.from({ length: 22 }, (_, at) => right(at % 11, 2 * i + Math.floor(at / 11))),
        ]
        // B·R and R⁻¹·A with R = [[1, 0], [2, 1]].
        const mixedB = b.map((x, at) => (mix && at % 2 === 0 ? x + 2 * b[at + 1]! : x))
        const mixedA = a.map((x, at) => (mix && at >= 11 ? x - 2 * a[at - 11]! : x))
        writeAdapter(
          path.join(folder, `${mix ? 'm' : 'p'}${i}`),
          { [`${P}q.lora_A.weight`]: f64([2, 11], mixedA), [`${P}q.lora_B.weight`]: f64([14, 2], mixedB) },
          { r: 2, lora_alpha: 2 },
        )
      }
    const run = async (kind: string, order: readonly number[], merge: string) => {
      const models = order.map((i) => `${'abc'[i]}: ${kind}${i}`).join(', ')
      writeFileSync(
        path.join(folder, 'r.yml'),
        `terge: 1\nmodels: {${models}}\nmerge: {${merge}, rank: full}\noutput: out\n`,
      )
      const ran = await terge(['run', 'r.yml', '--force', '--no-digests'], folder)
      assert.is(ran.code, 0, ran.err)
      return (await changesOf(path.join(folder, 'out'))).get('q')!.values
    }
    for (const merge of ['method: ties, parameters: {density: 0.4}', 'method: magmax', 'method: tsv_m']) {
      const plain = await run('p', [0, 1, 2], merge)
      assert.ok(distance(await run('m', [0, 1, 2], merge), plain) < 1e-12, merge)
      assert.ok(distance(await run('p', [2, 0, 1], merge), plain) < 1e-12, merge)
    }
  }))

test('the bits are the same on any number of threads', () =>
  inFolder(async (folder) => {
    writeFactored(folder, [3, 2, 4], false)
    writeFileSync(
      path.join(folder, 'r.yml'),
      'terge: 1\nmodels: {a: p0, b: p1, c: p2}\nmerge: {method: dare_ties, parameters: {density: 0.5}, rank: 4}\noutput: out\n',
    )
    const digests = []
    for (const threads of ['1', '3']) {
      const ran = await terge(['run', 'r.yml', '--threads', threads, '--force'], folder)
      assert.is(ran.code, 0, ran.err)
      digests.push(readFileSync(path.join(folder, 'out/adapter_model.safetensors')).toString('base64'))
    }
    assert.is(digests[0], digests[1])
    assert.is((await terge(['verify', 'out/lineage.json', '--reproduce'], folder)).code, 0)
  }))

test('energy: the smallest rank of each module that keeps the share, found before the output is laid out', () =>
  inFolder(async (folder) => {
    const from = fixture('merged-adapters/merge-linear-rank')
    const models = Object.fromEntries([0, 1, 2].map((i) => [`a${i}`, path.join(from, `a${i}`)]))
    const run = async (merge: object) => {
      const parameters = { normalize: false }
      const whole = { method: 'linear', weights: [0.7, -0.4, 1.1], parameters, ...merge }
      writeFileSync(path.join(folder, 'r.yml'), JSON.stringify({ terge: 1, models, merge: whole, output: 'out' }))
      const ran = await terge(['run', 'r.yml', '--force'], folder)
      assert.is(ran.code, 0, ran.err)
      const { steps } = JSON.parse(readFileSync(path.join(folder, 'out/lineage.json'), 'utf8'))
      return steps.merge.adapters.modules as Record<string, { rank: number; energy: number }>
    }
    const chosen = await run({ energy: 0.8 })
    const ranks = (of: typeof chosen) =>
      ['self_attn.q_proj', 'self_attn.v_proj', 'mlp.down_proj'].map((name) => of[`model.layers.0.${name}.weight`]!.rank)
    assert.equal(ranks(chosen), [5, 4, 4])
    for (const [name, { rank, energy }] of Object.entries(chosen)) {
      assert.ok(energy >= 0.8, name)
      assert.ok((await run({ rank: rank - 1 }))[name]!.energy < 0.8, name)
    }
    await run({ energy: 0.8 })
    assert.is((await terge(['verify', 'out/lineage.json', '--reproduce'], folder)).code, 0)
    assert.match((await terge(['plan', 'r.yml'], folder)).out, 'rank up to 10 for energy 0.8: 3 modules')
    assert.equal(ranks(await run({ energy: 0.8, rank: 4 })), [4, 4, 4])
    const wanted = await tensorsOf(fixture('merged-adapters/merge-linear/changes.safetensors'))
    await run({ energy: 1 })
    for (const [module, { values }] of await changesOf(path.join(folder, 'out')))
      assert.ok(distance(values, wanted.get(module)!.values) < 1e-7, module)
  }))

test('experts: every method merges each expert by itself, and parameters of one stack get one rank', () =>
  inFolder(async (folder) => {
    const from = fixture('merged-adapters/merge-linear-experts')
    const [rows, columns, experts] = [20, 12, 3]
    const run = async (merge: object) => {
      const models = { a: path.join(from, 'a0'), b: path.join(from, 'a1') }
      writeFileSync(path.join(folder, 'r.yml'), JSON.stringify({ terge: 1, models, merge, output: 'out' }))
      const ran = await terge(['run', 'r.yml', '--force'], folder)
      assert.is(ran.code, 0, ran.err)
      return changesOf(path.join(folder, 'out'))
    }
    const name = 'model.layers.0.mlp.experts.gate_up_proj'
    const exact = (await run({ method: 'task_arithmetic' })).get(name)!.values
    const cut = (await run({ method: 'task_arithmetic', rank: 2 })).get(name)!.values
    const part = (values: Float64Array, expert: number) =>
      values.subarray(expert * rows * columns, (expert + 1) * rows * columns)
    for (let expert = 0; expert < experts; expert++) {
      const { values } = svd(linalg(rows, columns, part(exact, expert)))
      const lost = values.slice(2).reduce((sum, value) => sum + value * value, 0)
      const all = values.reduce((sum, value) => sum + value * value, 0)
      assert.ok(Math.abs(distance(part(cut, expert), part(exact, expert)) - Math.sqrt(lost / all)) < 1e-6)
    }
    await run({ method: 'ties', energy: 0.9, filters: { exclude: ['**.down_proj'] } })
    const { target_parameters } = JSON.parse(readFileSync(path.join(folder, 'out/adapter_config.json'), 'utf8'))
    assert.equal(target_parameters, ['mlp.experts.gate_up_proj'])
    assert.ok((await tensorsOf(path.join(folder, 'out'))).has(`${P}model.layers.0.mlp.experts.lora_A.weight`))
  }))

test('experts: patterns of the result have the names of parameters, which PEFT compares them with', () => {
  const [usual, experts] = [
    { rank: 6, scale: 1 },
    { rank: 4, scale: 2, experts: 3 },
  ]
  const modules = [{ module: 'a.q' }, { module: 'b.q' }, { module: 'c.q' }].map((own) => ({ ...own, ...usual }))
  const stacks = ['a.experts.gate_up_proj', 'a.experts.down_proj'].map((module) => ({ module, ...experts }))
  const made = mergedConfig([{}], [...modules, ...stacks], {
    saved: { names: new Map(), modules: [], bias: 'none', task: null },
    ...{ left: [], ties: undefined, hasBiases: false, isDora: false },
  })
  assert.equal(made.rank_pattern, { 'a.experts.gate_up_proj': 4, 'a.experts.down_proj': 4 })
  assert.equal(made.alpha_pattern, { 'a.experts.gate_up_proj': 8, 'a.experts.down_proj': 8 })
})

test('one adapter at weight 1 is itself, bit for bit; another weight only changes alpha', () =>
  inFolder(async (folder) => {
    const from = fixture('merged-adapters/merge-linear')
    for (const name of ['a0', 'a1']) cpSync(path.join(from, name), path.join(folder, name), { recursive: true })
    const run = async (merge: string) => {
      writeFileSync(path.join(folder, 'r.yml'), `terge: 1\nmodels: {a: a0, b: a1}\nmerge: {${merge}}\noutput: out\n`)
      const ran = await terge(['run', 'r.yml', '--force'], folder)
      assert.is(ran.code, 0, ran.err)
      return tensorsOf(path.join(folder, 'out'))
    }
    const own = await tensorsOf(path.join(folder, 'a1'))
    assert.equal(await run('method: linear, weights: {a: 0, b: 1}'), own)
    assert.equal(
      JSON.parse(readFileSync(path.join(folder, 'out/adapter_config.json'), 'utf8')),
      JSON.parse(readFileSync(path.join(folder, 'a1/adapter_config.json'), 'utf8')),
    )
    assert.equal(await run('method: task_arithmetic, weights: {a: 0, b: 0.5}'), own)
    const { lora_alpha, r, use_rslora } = JSON.parse(readFileSync(path.join(folder, 'out/adapter_config.json'), 'utf8'))
    assert.equal([r, use_rslora], [3, false])
    assert.ok(Math.abs(lora_alpha - 2 * Math.sqrt(3)) < 1e-12)
  }))

test('a module that an adapter lacks counts as no change, and the plan says so', () =>
  inFolder(async (folder) => {
    const [a, b] = [matrix([2, 5], 1), matrix([4, 2], 2)]
    const q = { [`${P}l.q.lora_A.weight`]: stored(a), [`${P}l.q.lora_B.weight`]: stored(b) }
    writeAdapter(path.join(folder, 'one'), q, { r: 2, lora_alpha: 2 })
    writeAdapter(
      path.join(folder, 'two'),
      { ...q, [`${P}l.k.lora_A.weight`]: stored(a), [`${P}l.k.lora_B.weight`]: stored(b) },
      { r: 2, lora_alpha: 2 },
    )
    writeFileSync(
      path.join(folder, 'r.yml'),
      'terge: 1\nmodels: {one: one, two: two}\nmerge: {method: linear}\noutput: out\n',
    )
    const planned = await terge(['plan', 'r.yml'], folder)
    assert.match(planned.out, 'without one, which has no update for them: it counts as 0: 2 tensors')
    assert.match(planned.err + planned.out, 'earlier versions of terge averaged the factors A and B instead')
    assert.is((await terge(['run', 'r.yml'], folder)).code, 0)
    const made = await changesOf(path.join(folder, 'out'))
    const [own] = (await changesOf(path.join(folder, 'one'))).values()
    assert.ok(distance(made.get('l.q')!.values, own!.values) < 1e-7)
    // Half, although only one adapter has it: weights are not divided by those that are there.
    assert.ok(
      distance(
        made.get('l.k')!.values,
        own!.values.map((x) => x / 2),
      ) < 1e-7,
    )
  }))

test('BF16 factors: scales are not rounded with them, and the result is F32 unless the recipe says otherwise', () =>
  inFolder(async (folder) => {
    for (const [i, lora_alpha] of [1, 3].entries())
      writeAdapter(
        path.join(folder, `a${i}`),
        {
          [`${P}q.lora_A.weight`]: bf16([3, 6], matrix([3, 6], i, true).values),
          [`${P}q.lora_B.weight`]: bf16([5, 3], matrix([5, 3], i + 5, true).values),
        },
        { r: 3, lora_alpha },
      )
    const wanted = await Promise.all(['a0', 'a1'].map((name) => changesOf(path.join(folder, name))))
    const sum = wanted[0]!.get('q')!.values.map((x, i) => 0.3 * x + 0.7 * wanted[1]!.get('q')!.values[i]!)
    const run = async (more: string) => {
      writeFileSync(
        path.join(folder, 'r.yml'),
        `terge: 1\nmodels: {a: a0, b: a1}\nmerge: {method: linear, weights: [0.3, 0.7], rank: full}\noutput: {path: out${more}}\n`,
      )
      const ran = await terge(['run', 'r.yml', '--force'], folder)
      assert.is(ran.code, 0, ran.err)
      return distance((await changesOf(path.join(folder, 'out'))).get('q')!.values, sum)
    }
    assert.ok((await run('')) < 1e-7)
    const rounded = await run(', dtype: bfloat16')
    assert.ok(rounded > 1e-5 && rounded < 1e-2, `${rounded}`)
  }))

test('biases, tensors that are saved whole, and what is refused', () =>
  inFolder(async (folder) => {
    const factors = (seed: number) => ({
      [`${P}q.lora_A.weight`]: stored(matrix([2, 5], seed)),
      [`${P}q.lora_B.weight`]: stored(matrix([4, 2], seed + 1)),
    })
    for (const [name, seed] of [
      ['one', 1],
      ['two', 11],
    ] as const)
      writeAdapter(
        path.join(folder, name),
        {
          ...factors(seed),
          [`${P}q.lora_B.bias`]: f32([4], [seed, 2, 3, 4]),
          [`${P}score.weight`]: f32([2, 2], [seed, 0, 0, 1]),
        },
        { r: 2, lora_alpha: 4, modules_to_save: ['score'], lora_bias: true },
      )
    writeAdapter(path.join(folder, 'plain'), factors(21), { r: 2, lora_alpha: 2 })
    writeAdapter(
      path.join(folder, 'other'),
      { [`${P}q.lora_A.weight`]: stored(matrix([2, 6], 1)), [`${P}q.lora_B.weight`]: stored(matrix([4, 2], 1)) },
      { r: 2, lora_alpha: 2 },
    )
    const run = async (models: string, merge: string) => {
      writeFileSync(
        path.join(folder, 'r.yml'),
        `terge: 1\nmodels: {${models}}\nmerge: {rank: full, ${merge}}\noutput: out\n`,
      )
      return terge(['run', 'r.yml', '--force'], folder)
    }
    const averaged = await run('a: one, b: two', 'method: linear, weights: [3, 1]')
    assert.is(averaged.code, 0, averaged.err)
    const made = await tensorsOf(path.join(folder, 'out'))
    assert.equal([...made.get(`${P}score.weight`)!.values], [3.5, 0, 0, 1])
    const { r, lora_alpha, ...config } = JSON.parse(readFileSync(path.join(folder, 'out/adapter_config.json'), 'utf8'))
    assert.equal(
      [...made.get(`${P}q.lora_B.bias`)!.values].map((x) => (x * lora_alpha) / r),
      [7, 4, 6, 8],
    )
    assert.equal([config.modules_to_save, config.lora_bias], [['score'], true])
    const whole = /error adapter-whole: score\.weight is saved whole, not as a change, and /
    assert.match((await run('a: one, b: two', 'method: ties')).err, whole)
    assert.match((await run('a: one, b: two', 'method: task_arithmetic')).err, /the weights add up to 2, not to 1/)
    assert.match((await run('a: one, b: plain', 'method: linear')).err, /'b' lacks it/)
    const excluded = await run('a: one, b: two', 'method: ties, filters: {exclude: [score.weight]}')
    assert.is(excluded.code, 0, excluded.err)
    assert.not((await tensorsOf(path.join(folder, 'out'))).has(`${P}score.weight`))
    assert.match(
      (await run('a: plain, b: other', 'method: linear')).err,
      "error adapter-shape: b: it changes q as a weight [4, 6], and 'a' as one [4, 5]",
    )
    writeFileSync(
      path.join(folder, 'r.yml'),
      'terge: 1\nmodels: {a: plain, b: one}\nsteps:\n  m: {merge: {method: linear}}\n  n: {merge: {method: linear, models: [m, a]}}\noutput: {path: x, from: n}\n',
    )
    assert.match((await terge(['validate', 'r.yml'], folder)).err, "error adapter-step: 'm' is a merge of adapters")
    writeFileSync(
      path.join(folder, 'r.yml'),
      'terge: 1\nmodels: {a: plain, b: one}\nsteps:\n  m: {interpolate: {from: a, to: b, points: 3}}\noutput: {path: x, from: m}\n',
    )
    assert.match((await terge(['validate', 'r.yml'], folder)).err, "error adapter-step: 'a' is an adapter")
    assert.not(existsSync(path.join(folder, 'x')))
  }))

test.run()
