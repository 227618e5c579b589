/** docs/adding-*.md do what they say, and a program with all that they add merges, reads and runs it. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { f32, inFolder, numbers, writeModel } from '../support/files.js'
import { type Followed, followGuides } from '../support/followGuide.js'

const PAGES = ['docs/adding-a-method.md', 'docs/adding-a-format.md', 'docs/adding-a-step.md']
let followed: Promise<Followed> | undefined
/** All pages are followed in one copy, which the first test makes. */
const follow = (): Promise<Followed> => (followed ??= Promise.resolve().then(() => followGuides(PAGES)))
test.after(() => followed?.then(({ remove }) => remove()).catch(() => {}))

/** What a page creates and changes of the program. */
const sourcesOf = ({ created, changed }: Followed, page: string): string[] =>
  [created, changed].flatMap((files) => files.get(page)!.filter((file) => file.startsWith('src/')))

const RECIPE = `terge: 1
models:
  base: base.safetensors
  tuned: tuned.safetensors
merge: {method: expo, models: [tuned], base: base, parameters: {alpha: 0.25}}
output: out.safetensors
`

test('a method that was added by the page merges', () =>
  inFolder(async (work) => {
    const guides = await follow()
    const [base, tuned] = [numbers(300, 1), numbers(300, 2)]
    writeModel(path.join(work, 'base.safetensors'), { w: f32([300], base) })
    writeModel(path.join(work, 'tuned.safetensors'), { w: f32([300], tuned) })
    writeFileSync(path.join(work, 'recipe.yml'), RECIPE)
    guides.terge(['run', 'recipe.yml'], work)
    const expected = base.map((b, i) => Math.fround(b + Math.fround(1.25 * Math.fround(tuned[i]! - b))))
    const bytes = readFileSync(path.join(work, 'out.safetensors'))
    assert.equal(new Float32Array(Uint8Array.from(bytes.subarray(-1200)).buffer), expected)
    assert.match(guides.terge(['methods', 'expo'], work), /b \+ \(1 \+ α\)\/n Σ δ_i/)
    const source = sourcesOf(guides, 'docs/adding-a-method.md')
    assert.equal(source, ['src/methods/taskVectors/expo.ts', 'src/methods/registry.ts'])
  }))

/** As `numpy.save` writes an array: the header is filled up with spaces to 64 bytes. */
function npy(shape: string, values: Float32Array, fortran = false): Uint8Array {
  const text = `{'descr': '<f4', 'fortran_order': ${fortran ? 'True' : 'False'}, 'shape': ${shape}, }`
  const padded = `${text.padEnd(Math.ceil((text.length + 11) / 64) * 64 - 11)}\n`
  const begin = Buffer.from(`\x93NUMPY\x01\0..${padded}`, 'latin1')
  begin.writeUInt16LE(padded.length, 8)
  return Buffer.concat([begin, new Uint8Array(values.slice().buffer)])
}

test('a container that was added by the page is read', () =>
  inFolder(async (work) => {
    const guides = await follow()
    mkdirSync(path.join(work, 'arrays'))
    const [a, b, columns] = [numbers(300, 1), numbers(300, 2), Float32Array.of(1, 4, 2, 5, 3, 6)]
    writeFileSync(path.join(work, 'arrays/w.npy'), npy('(30, 10)', a))
    writeFileSync(path.join(work, 'arrays/c.npy'), npy('(2, 3)', columns, true))
    writeModel(path.join(work, 'b.safetensors'), { c: f32([2, 3], new Float32Array(6)), w: f32([30, 10], b) })
    const seen = JSON.parse(guides.terge(['inspect', 'arrays', '--json'], work))
    assert.equal([seen.tensors, seen.parameters, seen.files.length], [2, 306, 2])
    writeFileSync(
      path.join(work, 'recipe.yml'),
      'terge: 1\nmodels: {a: arrays, b: b.safetensors}\nmerge: {method: linear, models: [a, b], weights: [0.5, 0.5]}\noutput: out.safetensors\n',
    )
    guides.terge(['run', 'recipe.yml'], work)
    const data = Uint8Array.from(readFileSync(path.join(work, 'out.safetensors')).subarray(-306 * 4))
    const half = (x: number, y: number) => Math.fround(Math.fround(x * 0.5) + Math.fround(y * 0.5))
    // Tensors of one dtype lie in the order of their names; c has its columns one after the other.
    const expected = [...[1, 2, 3, 4, 5, 6].map((x) => half(x, 0)), ...a.map((x, i) => half(x, b[i]!))]
    assert.equal([...new Float32Array(data.buffer)], expected)
    const source = sourcesOf(guides, 'docs/adding-a-format.md')
    assert.equal(source, ['src/checkpoints/containers/npy/index.ts', 'src/checkpoints/containers/index.ts'])
  }))

test('a kind of step that was added by the page is planned, run and told of', () =>
  inFolder(async (work) => {
    const guides = await follow()
    const a = numbers(300, 1)
    writeModel(path.join(work, 'a.safetensors'), { w: f32([30, 10], a) })
    writeFileSync(
      path.join(work, 'recipe.yml'),
      'terge: 1\nmodels: {a: a.safetensors}\nsteps:\n  half: {scale: {model: a, factor: 0.5}}\n  back: {scale: {model: half, factor: -2}}\noutput: out.safetensors\n',
    )
    assert.match(guides.terge(['plan', 'recipe.yml'], work), 'half: scale')
    guides.terge(['run', 'recipe.yml'], work)
    const data = Uint8Array.from(readFileSync(path.join(work, 'out.safetensors')).subarray(-300 * 4))
    assert.equal([...new Float32Array(data.buffer)], [...a.map((x) => -x)])
    const { steps } = JSON.parse(guides.terge(['report', 'out.lineage.json', '--format', 'json'], work))
    assert.equal(steps.half, { kind: 'scale', models: ['a'], patterns: [] })
    guides.terge(['verify', 'out.lineage.json'], work)
    const source = sourcesOf(guides, 'docs/adding-a-step.md')
    assert.equal(source, ['src/steps/scale/index.ts', 'src/steps/index.ts'])
  }))

test.run()
