/** A network whose kind no other fixture has, through the real command: aligned, averaged, repaired. */

import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { batchNorm, convolve, evaluate, halve, mlp, type Picture, rectify } from '../rebasin/forward.js'
import { loadModel, type Model } from '../rebasin/load.js'
import { near } from '../rebasin/random.js'
import { inFolder } from '../support/files.js'
import { fixture, terge } from '../support/terge.js'

const [A, B] = [0, 1].map((n) => fixture(`vgg/vgg-${n}.safetensors`))
const RECIPE = `terge: 1
models: {a: ${A}, b: ${B}}
steps:
  moved: {rebasin: {model: b, onto: a, spec: chain}}
  naive: {merge: {method: linear, models: [a, b]}}
  mean: {merge: {method: linear, models: [a, moved]}}
  repaired: {repair: {model: mean, batch_norm: correlation}}
outputs:
  - {path: moved.safetensors, from: moved}
  - {path: naive.safetensors, from: naive}
  - {path: repaired.safetensors, from: repaired}
`
const run = (model: Model, pixels: Float64Array) => {
  const step = (x: Picture, k: number) =>
    halve(rectify(batchNorm(model, `features.${k + 1}`, convolve(model, `features.${k}`, x))))
  return mlp(model, ['classifier.0', 'classifier.3'], step(step({ data: pixels, channels: 1, size: 8 }, 0), 4).data)
}

test('an average of two VGGs reads digits after alignment and repair, and the aligned one computes what it did', () =>
  inFolder(async (folder) => {
    writeFileSync(path.join(folder, 'r.yml'), RECIPE)
    const ran = await terge(['run', 'r.yml', '--no-sync', '--threads', '1'], folder)
    assert.is(ran.code, 0, ran.err)
    assert.match(ran.out, /^b aligned to a: \d+ of 80 units moved, /)
    assert.match(ran.out, /\nrepaired: 2 norms repaired\n/)
    const digits = loadModel(fixture('digits/test.safetensors'))
    const made = (name: string) => loadModel(path.join(folder, `${name}.safetensors`))
    const accuracy = (model: Model) => evaluate(digits, (pixels) => run(model, pixels)).accuracy
    const pixels = Float64Array.from({ length: 64 }, (_, i) => digits.get('images')!.values[i]! / 16)
    near(run(loadModel(B!), pixels), run(made('moved'), pixels), 1e-5)
    assert.ok(accuracy(made('naive')) < 0.5)
    const repaired = accuracy(made('repaired'))
    assert.ok(repaired >= 0.78, String(repaired))
  }))

test.run()
