/** Methods that look at the whole model before they make the first tensor: metagpt, pcb. */

import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Fault } from '../../src/core/diagnostics.js'
import { plan } from '../../src/session/plan.js'
import { run } from '../../src/session/run.js'
import { reference } from '../reference/index.js'
import { deltasOf, dot, type Given } from '../reference/numeric.js'
import { inFolder } from '../support/files.js'
import {
  assertAllSteady,
  assertSame,
  inDtype,
  type Merged,
  mergeAll,
  named,
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

/** All tensors as one vector, in the order of their names. */
function concatenated(tensors: Tensors): Given {
  const all = Object.entries(tensors)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, given]) => given)
  const joined = (pick: (given: Given) => ArrayLike<number>) =>
    Float64Array.from(all.flatMap((given) => Array.from(pick(given))))
  const [first] = all as [Given]
  const inputs = first.inputs.map((_, i) => joined((given) => given.inputs[i]!))
  return named({ ...first, inputs, base: joined((given) => given.base!), shape: [inputs[0]!.length] })
}

for (const compute of COMPUTES)
  test(`pcb in ${compute}: all tensors compete as one vector, or each by itself`, async () => {
    const shapes = { a: [37], b: [13, 101], c: [70001], d: [3, 5, 7] }
    const tensors = models(5, compute, { parameters: { ratio: 0.3, lambda: 0.7 } }, shapes)
    const alone = models(2, compute, { parameters: { scope: 'tensor', lines: { alpha: 0.5, beta: 1 } } })
    const cases = [
      { method: 'pcb', tensors },
      { method: 'pcb', tensors: alone },
    ]
    const [whole, single] = (await mergeAll(cases, { dtype: compute === 'float32' ? 'F32' : 'F64' })) as [
      Merged,
      Merged,
    ]
    const expected = reference('pcb', concatenated(tensors))
    let at = 0
    for (const name of Object.keys(shapes)) {
      const actual = whole.tensors[name]!
      assertSame(actual, expected.subarray(at, at + actual.length), `pcb ${name}`)
      at += actual.length
    }
    const layers = { scalar: undefined, one: undefined }
    for (const [name, given] of Object.entries(alone)) {
      const index = name in layers ? undefined : Number(name.split('.')[2])
      const layer = index === undefined ? {} : { layer: { index, count: 4 } }
      assertSame(single.tensors[name]!, reference('pcb', named({ ...given, ...layer }, name)), `pcb alone ${name}`)
    }
  })

test('the same bytes on one thread, on two, and read', () =>
  assertAllSteady([
    { method: 'metagpt', tensors: models(3, 'float32') },
    { method: 'pcb', tensors: models(2, 'float32') },
  ]))

test('filters bound the scope, rules divide it, and a step may be merged again', () =>
  inFolder(async (folder) => {
    const shapes = { a: [37], b: [13, 101], c: [5] }
    const tensors = models(2, 'float32', {}, shapes)
    const recipe = JSON.parse(writeCase(folder, 'metagpt', tensors)) as { steps: Record<string, { merge: object }> }
    const part = (names: readonly string[]): Tensors => Object.fromEntries(names.map((name) => [name, tensors[name]!]))
    const merged = async (merge: object) => {
      const steps = { 'step-0': { merge: { ...recipe.steps['step-0']!.merge, ...merge } } }
      return (await runOutputs(folder, JSON.stringify({ ...recipe, steps })))[0]!
    }
    assertMetagpt(part(['a', 'b']), await merged({ filters: { exclude: 'c' } }), 'filtered')
    assertMetagpt(part(['b', 'c']), await merged({ rules: [{ match: 'a', method: 'task_arithmetic' }] }), 'ruled')
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

test('a resume finds the scope again: the same bytes and the same weights in the lineage', () =>
  inFolder(async (folder) => {
    const tensors = models(2, 'float32')
    const file = path.join(folder, 'recipe.yml')
    writeFileSync(file, writeCase(folder, 'metagpt', tensors))
    const whole = await run(await plan(file), { sync: false, threads: 1 })
    const { path: output, lineagePath } = whole.outputs[0]!
    const expected = [readFileSync(output), readFileSync(lineagePath)]
    for (const made of [output, lineagePath]) rmSync(made)
    const stop = new AbortController()
    const stopped = await run(await plan(file), {
      sync: false,
      threads: 1,
      resume: true,
      signal: stop.signal,
      listen: (event) => event.kind === 'progress' && event.tensors > 0 && stop.abort(),
    }).catch((error: unknown) => error)
    assert.ok(stopped instanceof Fault && stopped.exit === 130)
    await run(await plan(file), { sync: false, resume: true })
    assert.equal([readFileSync(output), readFileSync(lineagePath)], expected)
  }))

test.run()
