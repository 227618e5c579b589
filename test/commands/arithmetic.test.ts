/** What arithmetic can do to values without a word: digits of F64, shared infinities, overflow. Through the real command. */

import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { inFolder } from '../support/files.js'
import { terge } from '../support/terge.js'

type Values = Readonly<Record<string, readonly [dtype: string, shape: readonly number[], bytes: Uint8Array]>>

function save(file: string, tensors: Values): void {
  let offset = 0
  const header: Record<string, unknown> = {}
  for (const [name, [dtype, shape, bytes]] of Object.entries(tensors)) {
    header[name] = { dtype, shape, data_offsets: [offset, offset + bytes.length] }
    offset += bytes.length
  }
  const text = Buffer.from(JSON.stringify(header))
  const padded = Buffer.concat([text, Buffer.alloc(-text.length & 7, ' ')])
  const size = Buffer.alloc(8)
  size.writeBigUInt64LE(BigInt(padded.length))
  writeFileSync(file, Buffer.concat([size, padded, ...Object.values(tensors).map(([, , bytes]) => bytes)]))
}

function load(file: string, name: string): Buffer {
  const bytes = readFileSync(file)
  const start = 8 + Number(bytes.readBigUInt64LE())
  const [from, to] = JSON.parse(bytes.subarray(8, start).toString())[name].data_offsets
  return Buffer.from(bytes.subarray(start + from, start + to))
}

const bytesOf = (values: Float32Array | Float64Array): Uint8Array => new Uint8Array(values.buffer)
const doubles = (...values: number[]): Values[string] => ['F64', [values.length], bytesOf(Float64Array.from(values))]
const singles = (...values: number[]): Values[string] => ['F32', [values.length], bytesOf(Float32Array.from(values))]
const readDoubles = (file: string): number[] => {
  const bytes = load(file, 'w')
  return Array.from({ length: bytes.length / 8 }, (_, i) => bytes.readDoubleLE(8 * i))
}
const readSingles = (file: string): number[] => {
  const bytes = load(file, 'w')
  return Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(4 * i))
}

/** Runs a recipe over models in a folder; its output is o.safetensors. */
async function run(folder: string, models: readonly string[], rest: string, ...flags: string[]) {
  const listed = models.map((name) => `${name}: ${name}.safetensors`).join(', ')
  writeFileSync(path.join(folder, 'r.yml'), `terge: 1\nmodels: {${listed}}\n${rest}\n`)
  return terge(['run', 'r.yml', '--force', ...flags], folder)
}

const OUTPUT = 'output: o.safetensors'

test('F64 tensors keep their digits and their range, whatever compute says', () =>
  inFolder(async (folder) => {
    const [a, b, base] = [
      [1e300, 1 / 3, 1000.0000000001],
      [-2e300, 2 / 3, 999.9999999999],
      [1e299, 0, 1000],
    ] as [number[], number[], number[]]
    for (const [name, values] of Object.entries({ a, b, base }))
      save(path.join(folder, `${name}.safetensors`), { w: doubles(...values) })
    const output = path.join(folder, 'o.safetensors')
    const made = async (merge: string) => {
      assert.is((await run(folder, ['a', 'b', 'base'], `base: base\nmerge: ${merge}\n${OUTPUT}`)).code, 0, merge)
      return readDoubles(output)
    }
    assert.equal(await made('{method: passthrough, models: [a]}'), a)
    assert.equal(await made('{method: slerp, models: [a, b], parameters: {t: 0}}'), a)
    assert.equal(
      await made('{method: linear, models: [a, b]}'),
      a.map((x, i) => 0.5 * x + 0.5 * b[i]!),
    )
    assert.equal(
      await made('{method: task_arithmetic, models: [a, b], weights: {a: 0.5, b: 0.25}}'),
      base.map((o, i) => o + (0.5 * (a[i]! - o) + 0.25 * (b[i]! - o))),
    )
    assert.equal(
      await made('{method: median, models: [a, b]}'),
      a.map((x, i) => (x + b[i]!) / 2),
    )
    for (const method of ['karcher', 'multislerp', 'nuslerp', 'model_stock', 'geometric_median'])
      assert.ok((await made(`{method: ${method}, models: [a, b]}`)).every(Number.isFinite), method)
  }))

test('passthrough copies the bits of every dtype', () =>
  inFolder(async (folder) => {
    const odd = Uint8Array.from([0x01, 0x00, 0xc0, 0x7f, 0xff, 0xff, 0xff, 0xff])
    for (const [dtype, bytes] of Object.entries({ F64: 8, F32: 4, F16: 2, BF16: 2, F8_E4M3: 1, F8_E5M2: 1 })) {
      save(path.join(folder, 'a.safetensors'), { w: [dtype, [8 / bytes], odd] })
      const { code, err } = await run(folder, ['a'], `merge: {method: passthrough, models: [a]}\n${OUTPUT}`)
      assert.is(code, 0, err)
      assert.equal(load(path.join(folder, 'o.safetensors'), 'w'), Buffer.from(odd), dtype)
    }
  }))

const SHARED = [
  ['linear', 'a, b', '{}'],
  ['linear', 'a, b', '{normalize: false}', '{a: 1.5, b: -0.5}'],
  ['slerp', 'a, b', '{t: 0.5}'],
  ['nuslerp', 'a, b', '{}'],
  ['karcher', 'a, b', '{}'],
  ['multislerp', 'a, b', '{}'],
  ['geometric_median', 'a, b', '{}'],
  ['median', 'a, b', '{}'],
  ['nearswap', 'base, a', '{t: 0.01}'],
  ['arcee_fusion', 'base, a', '{}'],
  ['task_arithmetic', 'a, b', '{}'],
  ['ties', 'a, b', '{density: 0.5}'],
  ['dare_ties', 'a, b', '{density: 0.5}'],
  ['della', 'a, b', '{density: 0.5}'],
  ['breadcrumbs', 'a, b', '{density: 0.5}'],
  ['model_stock', 'a, b', '{}'],
  ['model_stock', 'a, b', '{filter_wise: true}'],
  ['sce', 'a, b', '{select_topk: 0.5}'],
  ['magmax', 'a, b', '{}'],
  ['consensus_ta', 'a, b', '{}'],
  ['pcb', 'a, b', '{}'],
  ['metagpt', 'a, b', '{}'],
  ['ram', 'a, b', '{}'],
  ['iso_c', 'a, b', '{}'],
  ['tsv_m', 'a, b', '{}'],
  ['knots', 'a, b', '{}'],
  ['star', 'a, b', '{}'],
] as const

test('an infinity that is the same in all models comes out as it is, and spoils no other element', () =>
  inFolder(async (folder) => {
    // Twice as many columns as rows: a mask above the diagonal in the first half, weights in the second.
    const model = (shift: number) =>
      Array.from({ length: 32 }, (_, i) => {
        const [row, column] = [i >> 3, i & 7]
        if (column === 7 && row === 3) return Number.POSITIVE_INFINITY
        return column < 4 && column > row ? Number.NEGATIVE_INFINITY : Math.sin(3 * i + shift) + shift / 8
      })
    for (const [name, shift] of Object.entries({ base: 0, a: 1, b: 2 })) {
      const [, , bytes] = singles(...model(shift))
      save(path.join(folder, `${name}.safetensors`), { w: ['F32', [4, 8], bytes] })
    }
    const expected = model(0).map((x) => (Number.isFinite(x) ? 'finite' : x))
    for (const [method, models, parameters, weights] of SHARED) {
      const merge = `{method: ${method}, models: [${models}], parameters: ${parameters}${weights ? `, weights: ${weights}` : ''}}`
      const { code, err } = await run(folder, ['base', 'a', 'b'], `base: base\nmerge: ${merge}\n${OUTPUT}`)
      assert.is(code, 0, `${merge}: ${err}`)
      const made = readSingles(path.join(folder, 'o.safetensors'))
      assert.equal(
        made.map((x) => (Number.isFinite(x) ? 'finite' : x)),
        expected,
        merge,
      )
      assert.not.match(err, /warning (not-finite|degenerate-tensor)/, merge)
    }
  }))

test('results that are not finite although their inputs are: a warning, the lineage, an error with --strict', () =>
  inFolder(async (folder) => {
    save(path.join(folder, 'a.safetensors'), { w: singles(1e30, 1, Number.POSITIVE_INFINITY, 70000), v: singles(1) })
    save(path.join(folder, 'b.safetensors'), { w: singles(1e30, 1, Number.POSITIVE_INFINITY, 1), v: singles(1) })
    const recipe = `merge: {method: linear, parameters: {normalize: false}}\noutput: {path: o.safetensors, dtype: float16}`
    const warned = await run(folder, ['a', 'b'], recipe)
    assert.is(warned.code, 0)
    assert.match(warned.err, /warning not-finite: 2 elements in 1 tensor of o\.safetensors are NaN or infinite.*w: 2/)
    const { tensors } = JSON.parse(readFileSync(path.join(folder, 'o.lineage.json'), 'utf8'))
    assert.is(tensors.w.non_finite, 2)
    assert.is(tensors.v.non_finite, undefined)
    assert.is((await terge(['verify', 'o.lineage.json'], folder)).code, 0)
    const json = await run(folder, ['a', 'b'], recipe, '--json')
    assert.is(JSON.parse(json.out).warnings[0].code, 'not-finite')
    const strict = await run(folder, ['a', 'b'], recipe, '--strict')
    assert.is(strict.code, 1)
    assert.match(strict.err, /error not-finite/)
  }))

test('weights whose sum is beyond float64 are weights', () =>
  inFolder(async (folder) => {
    for (const [name, x] of Object.entries({ base: 0, a: 1, b: 3 }))
      save(path.join(folder, `${name}.safetensors`), { w: singles(x, 2 * x) })
    for (const method of ['linear', 'nuslerp', 'multislerp', 'geometric_median'])
      for (const size of ['1.0e+308', '1.0e-300']) {
        const merge = `{method: ${method}, models: [a, b], weights: {a: ${size}, b: ${size}}}`
        const { code, err } = await run(folder, ['a', 'b'], `merge: ${merge}\n${OUTPUT}`)
        assert.is(code, 0, `${merge}: ${err}`)
        const [x = 0, y = 0] = readSingles(path.join(folder, 'o.safetensors'))
        assert.ok(Math.abs(x - 2) < 1e-5 && Math.abs(y - 4) < 1e-5, `${merge}: ${x} ${y}`)
      }
    const ties = `{method: ties, models: [a, b], weights: {a: 1.0e+308, b: 1.0e+308}}`
    assert.is((await run(folder, ['base', 'a', 'b'], `base: base\nmerge: ${ties}\n${OUTPUT}`)).code, 0)
    assert.equal(readSingles(path.join(folder, 'o.safetensors')), [2, 4])
  }))

test.run()
