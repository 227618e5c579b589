import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { inferSpec } from '../../src/rebasin/infer/index.js'
import { mergeMany } from '../../src/rebasin/joint.js'
import { weightMatching } from '../../src/rebasin/match.js'
import { correlatedVariance, normFeeds } from '../../src/rebasin/repair.js'
import { createThreadTeam } from '../../src/rebasin/team/team.js'
import { aligned, average, evaluate, mlp, resnet } from './forward.js'
import { loadModel, type Model, sourceOf } from './load.js'

const fixture = (name: string) =>
  loadModel(fileURLToPath(new URL(`../../../test/fixtures/digits/${name}.safetensors`, import.meta.url)))
const digits = fixture('test')
const pool = createThreadTeam(1)
const LAYERS = ['fc1', 'fc2', 'fc3', 'fc4']
const figures = (model: Model) => evaluate(digits, (pixels) => mlp(model, LAYERS, pixels))
const picture = (data: Float64Array) => ({ data, channels: 1, size: 8 })

test('mlp256: the aligned model computes the same, its midpoint classifies', async () => {
  const [a, b] = [fixture('mlp256-0'), fixture('mlp256-1')]
  const { spec, family } = inferSpec(sourceOf(a))
  assert.is(family, 'chain')
  const found = await weightMatching(spec, sourceOf(a), sourceOf(b), pool)
  assert.ok(found.scoreAfter > found.scoreBefore)
  const moved = aligned(spec, b, found.permutations)
  const pixels = Float64Array.from({ length: 64 }, (_, i) => digits.get('images')!.values[i]! / 16)
  const [x, y] = [mlp(b, LAYERS, pixels), mlp(moved, LAYERS, pixels)]
  x.forEach((value, i) => {
    assert.ok(Math.abs(value - y[i]!) < 1e-9)
  })
  const { accuracy, loss } = figures(average(a, moved))
  assert.ok(accuracy >= 0.975, `accuracy ${accuracy}`)
  assert.ok(loss <= 0.09, `loss ${loss}`)
})

test('three mlp256 jointly', async () => {
  const models = [0, 1, 2].map((k) => fixture(`mlp256-${k}`))
  const { spec } = inferSpec(sourceOf(models[0]!))
  const sources = models.map((model) => sourceOf(model))
  const { permutations } = await mergeMany(spec, sources, pool, { restarts: 1 })
  assert.ok(permutations[0]!.fc1!.every((from, i) => from === i))
  const { accuracy } = figures(average(...models.map((model, k) => aligned(spec, model, permutations[k]!))))
  assert.ok(accuracy >= 0.97, `accuracy ${accuracy}`)
})

test('resnets: statistics move with their channels, and the repair brings the midpoint back', async () => {
  const [a, b] = [fixture('resnet-0'), fixture('resnet-1')]
  const { spec, family } = inferSpec(sourceOf(a))
  assert.is(family, 'resnet')
  const { permutations } = await weightMatching(spec, sourceOf(a), sourceOf(b), pool)
  const moved = aligned(spec, b, permutations)
  const pixels = Float64Array.from({ length: 64 }, (_, i) => digits.get('images')!.values[64 + i]! / 16)
  const [x, y] = [resnet(b, picture(pixels)), resnet(moved, picture(pixels))]
  x.forEach((value, i) => {
    assert.ok(Math.abs(value - y[i]!) < 1e-6)
  })
  const middle = average(a, moved)
  const { feeds, left } = normFeeds(a)
  assert.equal([feeds.length, left], [9, {}])
  for (const { variance, weight } of feeds) {
    const both = [a, moved]
    const values = correlatedVariance(
      both.map((model) => model.get(variance)!.values),
      both.map((model) => model.get(weight)!.values),
      [0.5, 0.5],
    )
    middle.set(variance, { ...middle.get(variance)!, values })
  }
  const { accuracy } = evaluate(digits, (data) => resnet(middle, picture(data)), 120)
  assert.ok(accuracy >= 0.65, `accuracy ${accuracy}`)
})

test.run()
