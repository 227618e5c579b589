/** docs/adding-a-method.md does what it says, and a merge with its method is what a loop over scalars computes. */
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { f32, inFolder, numbers, writeModel } from '../support/files.js'
import { followGuide } from '../support/followGuide.js'

const RECIPE = `terge: 1
models:
  base: base.safetensors
  tuned: tuned.safetensors
merge: {method: expo, models: [tuned], base: base, parameters: {alpha: 0.25}}
output: out.safetensors
`

test('a method that was added by the page merges', () =>
  followGuide('docs/adding-a-method.md', ({ terge, created, changed }) =>
    inFolder((work) => {
      const [base, tuned] = [numbers(300, 1), numbers(300, 2)]
      writeModel(path.join(work, 'base.safetensors'), { w: f32([300], base) })
      writeModel(path.join(work, 'tuned.safetensors'), { w: f32([300], tuned) })
      writeFileSync(path.join(work, 'recipe.yml'), RECIPE)
      terge(['run', 'recipe.yml'], work)
      const expected = base.map((b, i) => Math.fround(b + Math.fround(1.25 * Math.fround(tuned[i]! - b))))
      const bytes = readFileSync(path.join(work, 'out.safetensors'))
      assert.equal(new Float32Array(Uint8Array.from(bytes.subarray(-1200)).buffer), expected)
      assert.match(terge(['methods', 'expo'], work), /b \+ \(1 \+ α\)\/n Σ δ_i/)
      const source = [...created, ...changed].filter((file) => file.startsWith('src/'))
      assert.equal(source, ['src/methods/taskVectors/expo.ts', 'src/methods/registry.ts'])
    }),
  ))

test.run()
