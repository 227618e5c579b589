/** Names of layers are listed as people count. */
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { naturalOrder } from '../../src/core/collections/naturalOrder.js'
import { f32, inFolder, numbers, writeModel } from '../support/files.js'
import { namesOf } from '../support/page.js'
import { terge } from '../support/terge.js'

const LAYERS = [0, 1, 2, 3, 10, 11, 12]
const NAMES = LAYERS.map((layer) => `layers.${layer}.weight`)

const model = (file: string, seed: number, rows: number): void =>
  writeModel(file, Object.fromEntries(NAMES.map((name, at) => [name, f32([rows, 4], numbers(rows * 4, seed + at))])))

const layersIn = (text: string): string[] => [...text.matchAll(/layers\.\d+\.weight/g)].map(([name]) => name)

test('inspect, diff, plan and report list layer 2 before layer 10', () =>
  inFolder(async (folder) => {
    model(path.join(folder, 'a.safetensors'), 1, 6)
    model(path.join(folder, 'b.safetensors'), 50, 4)
    const ran = async (...args: string[]): Promise<string> => {
      const { code, out, err } = await terge(args, folder)
      assert.is(code, 0, err)
      return out
    }
    assert.equal(layersIn(await ran('inspect', 'a.safetensors')), NAMES)
    assert.equal(
      JSON.parse(await ran('inspect', 'a.safetensors', '--json')).list.map(({ name }: { name: string }) => name),
      NAMES,
    )
    assert.equal(layersIn(await ran('diff', 'a.safetensors', 'b.safetensors')), NAMES)
    writeFileSync(
      path.join(folder, 'crop.yml'),
      `terge: 1
models: {a: a.safetensors, b: b.safetensors}
base: a
merge: {method: linear, models: [a, b], on_mismatch: crop}
output: cropped.safetensors
`,
    )
    assert.equal(layersIn(await ran('plan', 'crop.yml')), NAMES)
    await ran('merge', 'a.safetensors', 'a.safetensors', '-o', 'out.safetensors')
    assert.equal(namesOf(await ran('report', 'out.lineage.json')), NAMES)
    assert.equal(Object.keys(JSON.parse(await ran('report', 'out.lineage.json', '--format', 'terge'))), NAMES)
  }))

test('numbers compare by value, of any length, and leading zeros only decide between equal numbers', () => {
  const sorted = ['a', 'a.1', 'a.01', 'a.2', 'a.10', 'a.99999999999999999998', 'a.99999999999999999999', 'a.b', 'b.0']
  assert.equal([...sorted].reverse().sort(naturalOrder), ['a', 'a.01', 'a.1', ...sorted.slice(3)])
})

test.run()
