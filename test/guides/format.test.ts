/** docs/adding-a-format.md does what it says, and a model of its format is inspected and merged. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { f32, inFolder, numbers, writeModel } from '../support/files.js'
import { followGuide } from '../support/followGuide.js'

/** As `numpy.save` writes an array: the header is filled up with spaces to 64 bytes. */
function npy(shape: string, values: Float32Array, fortran = false): Uint8Array {
  const text = `{'descr': '<f4', 'fortran_order': ${fortran ? 'True' : 'False'}, 'shape': ${shape}, }`
  const padded = `${text.padEnd(Math.ceil((text.length + 11) / 64) * 64 - 11)}\n`
  const begin = Buffer.from(`\x93NUMPY\x01\0..${padded}`, 'latin1')
  begin.writeUInt16LE(padded.length, 8)
  return Buffer.concat([begin, new Uint8Array(values.slice().buffer)])
}

test('a container that was added by the page is read', () =>
  followGuide('docs/adding-a-format.md', ({ terge, created, changed }) =>
    inFolder((work) => {
      mkdirSync(path.join(work, 'arrays'))
      const [a, b, columns] = [numbers(300, 1), numbers(300, 2), Float32Array.of(1, 4, 2, 5, 3, 6)]
      writeFileSync(path.join(work, 'arrays/w.npy'), npy('(30, 10)', a))
      writeFileSync(path.join(work, 'arrays/c.npy'), npy('(2, 3)', columns, true))
      writeModel(path.join(work, 'b.safetensors'), { c: f32([2, 3], new Float32Array(6)), w: f32([30, 10], b) })
      const seen = JSON.parse(terge(['inspect', 'arrays', '--json'], work))
      assert.equal([seen.tensors, seen.parameters, seen.files.length], [2, 306, 2])
      writeFileSync(
        path.join(work, 'recipe.yml'),
        'terge: 1\nmodels: {a: arrays, b: b.safetensors}\nmerge: {method: linear, models: [a, b], weights: [0.5, 0.5]}\noutput: out.safetensors\n',
      )
      terge(['run', 'recipe.yml'], work)
      const data = Uint8Array.from(readFileSync(path.join(work, 'out.safetensors')).subarray(-306 * 4))
      const half = (x: number, y: number) => Math.fround(Math.fround(x * 0.5) + Math.fround(y * 0.5))
      // Tensors of one dtype lie in the order of their names; c has its columns one after the other.
      const expected = [...[1, 2, 3, 4, 5, 6].map((x) => half(x, 0)), ...a.map((x, i) => half(x, b[i]!))]
      assert.equal([...new Float32Array(data.buffer)], expected)
      const source = [...created, ...changed].filter((file) => file.startsWith('src/'))
      assert.equal(source, ['src/checkpoints/containers/npy/index.ts', 'src/checkpoints/containers/index.ts'])
    }),
  ))

test.run()
