/** Methods that look at the whole model before they make the first tensor: metagpt. */
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { reference } from '../reference/index.js'
import { deltasOf, dot } from '../reference/numeric.js'
import {
  assertAllSteady,
  assertSame,
  inDtype,
  inFolder,
  type Merged,
  mergeAll,
  runOutputs,
  type Tensors,
  writeCase,
} from './harness.js'
import { COMPUTES, models } from './samples.js'

/** ‖δ_i‖² over all tensors, in the order of their names. */
function squaredNorms(tensors: Tensors): number[] {
  const sums: number[] = []
  for (const [, given] of Object.entries(tensors).sort(([a], [b]) => (a < b ? -1 : 1)))
    for (const [i, delta] of deltasOf(given).entries()) sums[i] = (sums[i] ?? 0) + dot(delta, delta)
  return sums
}

function assertMetagpt(tensors: Tensors, merged: Merged, what: string): void {
  const norms = squaredNorms(tensors)
  for (const [name, given] of Object.entries(tensors))
    assertSame(
      merged.tensors[name]!,
      reference('metagpt', { ...given, squaredNorms: norms }),
      `${what} ${name} in ${given.compute}`,
    )
}

for (const compute of COMPUTES)
  test(`metagpt in ${compute}: norms over the whole model, weights in the lineage`, async () => {
    const tensors = models(3, compute, { parameters: { lambda: 0.7 } })
    const stored = Object.fromEntries(Object.entries(tensors).map(([name, given]) => [name, inDtype(given, 'BF16')]))
    const [merged] = (await mergeAll([{ method: 'metagpt', tensors: stored }], { dtype: 'BF16' })) as [Merged]
    assertMetagpt(stored, merged, 'metagpt')
    const norms = squaredNorms(stored)
    const total = norms.reduce((sum, norm) => sum + norm, 0)
    for (const { sources } of Object.values(merged.lineage.tensors))
      assert.equal(
        sources.map(({ weight }) => weight),
        norms.map((norm) => norm / total),
      )
  })

test('the same bytes on one thread, on two, and read', () =>
  assertAllSteady([{ method: 'metagpt', tensors: models(3, 'float32') }]))

test('filters bound the scope, rules divide it, and a step may be merged again', () =>
  inFolder(async (folder) => {
    const shapes = { a: [37], b: [13, 101], c: [5] }
    const tensors = models(2, 'float32', {}, shapes)
    const recipe = JSON.parse(writeCase(folder, 'metagpt', tensors)) as { steps: Record<string, { merge: object }> }
    const part = (names: readonly string[]): Tensors => Object.fromEntries(names.map((name) => [name, tensors[name]!]))
    const run = async (merge: object) => {
      const steps = { 'step-0': { merge: { ...recipe.steps['step-0']!.merge, ...merge } } }
      return (await runOutputs(folder, JSON.stringify({ ...recipe, steps })))[0]!
    }
    assertMetagpt(part(['a', 'b']), await run({ filters: { exclude: 'c' } }), 'filtered')
    assertMetagpt(part(['b', 'c']), await run({ rules: [{ match: 'a', method: 'task_arithmetic' }] }), 'ruled')
    // Of what is merged again only one tensor is wanted: norms are over all of the inner step's all the same.
    const outer = {
      merge: { method: 'linear', models: ['step-0', 'step-0b'], base: '0-base', filters: { include: 'b' } },
    }
    const copy = { merge: { ...recipe.steps['step-0']!.merge } }
    const text = JSON.stringify({
      ...recipe,
      steps: { 'step-0': recipe.steps['step-0'], 'step-0b': copy, outer },
      outputs: [{ path: path.join(folder, 'outer.safetensors'), from: 'outer', dtype: 'float32' }],
    })
    const [nested] = (await runOutputs(folder, text)) as [Merged]
    const expected = reference('metagpt', { ...tensors.b!, squaredNorms: squaredNorms(tensors) })
    assertSame(nested.tensors.b!, expected, 'merged again')
  }))

test.run()
