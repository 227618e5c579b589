/** docs/adding-a-step.md does what it says, and a recipe with its kind of step is run. */
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { f32, inFolder, numbers, writeModel } from '../support/files.js'
import { followGuide } from '../support/followGuide.js'

test('a kind of step that was added by the page is planned, run and told of', () =>
  followGuide('docs/adding-a-step.md', ({ terge, created, changed }) =>
    inFolder((work) => {
      const a = numbers(300, 1)
      writeModel(path.join(work, 'a.safetensors'), { w: f32([30, 10], a) })
      writeFileSync(
        path.join(work, 'recipe.yml'),
        'terge: 1\nmodels: {a: a.safetensors}\nsteps:\n  half: {scale: {model: a, factor: 0.5}}\n  back: {scale: {model: half, factor: -2}}\noutput: out.safetensors\n',
      )
      assert.match(terge(['plan', 'recipe.yml'], work), 'half: scale')
      terge(['run', 'recipe.yml'], work)
      const data = Uint8Array.from(readFileSync(path.join(work, 'out.safetensors')).subarray(-300 * 4))
      assert.equal([...new Float32Array(data.buffer)], [...a.map((x) => -x)])
      const { steps } = JSON.parse(terge(['report', 'out.lineage.json', '--format', 'json'], work))
      assert.equal(steps.half, { kind: 'scale', models: ['a'], patterns: [] })
      terge(['verify', 'out.lineage.json'], work)
      const source = [...created, ...changed].filter((file) => file.startsWith('src/'))
      assert.equal(source, ['src/steps/scale/index.ts', 'src/steps/index.ts'])
    }),
  ))

test.run()
