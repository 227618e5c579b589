/** Adapters of sd-scripts, LyCORIS and ComfyUI, applied to their bases: what these libraries make of them. */
import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { inFolder } from '../support/files.js'
import { tensorsOf } from '../support/lowRank.js'
import { terge } from '../support/terge.js'

const FIXTURES = fileURLToPath(new URL('../../../test/fixtures/adapters', import.meta.url))
const fileOf = (set: string): string | undefined =>
  ['kohya.safetensors', 'comfy.safetensors'].find((name) => existsSync(path.join(FIXTURES, set, name)))
const sets = readdirSync(FIXTURES).filter((set) => fileOf(set) !== undefined)

test('there is a set for each format and kind', () => assert.ok(sets.length >= 11, `${sets}`))

async function apply(folder: string, base: string, lora: string, more = '', threads = 1): Promise<string> {
  const model = `{path: ${JSON.stringify(base)}, lora: ${JSON.stringify(lora)}${more}}`
  writeFileSync(
    path.join(folder, 'r.yml'),
    `terge: 1\nmodels: {m: ${model}}\nmerge: {method: passthrough}\noutput: out.safetensors\n`,
  )
  const ran = await terge(['run', 'r.yml', '--force', '--threads', `${threads}`], folder)
  assert.is(ran.code, 0, ran.err)
  return path.join(folder, 'out.safetensors')
}

for (const set of sets)
  test(`${set}: the model is the one that its library makes`, () =>
    inFolder(async (folder) => {
      const from = path.join(FIXTURES, set)
      const made = await tensorsOf(
        await apply(folder, path.join(from, 'base.safetensors'), path.join(from, fileOf(set)!)),
      )
      const wanted = await tensorsOf(path.join(from, 'merged.safetensors'))
      assert.equal([...made.keys()].sort(), [...wanted.keys()].sort())
      let most = 0
      for (const [name, { values }] of wanted)
        most = Math.max(most, ...values.map((value, i) => Math.abs(value - made.get(name)!.values[i]!)))
      if (process.env.SHOW) console.log(set, most)
      assert.ok(most < 1e-6, `${set}: ${most}`)
    }))

test.run()
