/** fisher, and the files of statistics that it needs. */

import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type Diagnostic, Fault } from '../../src/core/diagnostics.js'
import { plan } from '../../src/session/plan.js'
import { run } from '../../src/session/run.js'
import { bell } from '../reference/samples.js'
import { inFolder } from '../support/files.js'
import { assertAllSteady, assertReferences, type Tensors, writeCase, writeModel } from './harness.js'
import { COMPUTES, DTYPES, models } from './samples.js'

function withStatistics(tensors: Tensors): Tensors {
  return Object.fromEntries(
    Object.entries(tensors).map(([name, given]) => [
      name,
      {
        ...given,
        statistics: given.inputs
          .map((x, i) => bell(`F${name}${i}`, Math.min(x.length, 999), 1e-3))
          .map((some, i) => given.inputs[i]!.map((_, at) => Math.abs(some[at % some.length]!))),
      },
    ]),
  )
}
const tensors = (compute: (typeof COMPUTES)[number]) =>
  withStatistics(models(3, compute, { onBase: false, weights: [1, 0, 0.5], parameters: { floor: 1e-4 } }))

for (const compute of COMPUTES)
  test(`fisher in ${compute} is the reference, bit for bit; the lineage names the statistics`, async () => {
    const dtypes = compute === 'float32' ? DTYPES : (['F64'] as const)
    for (const dtype of dtypes) {
      const [{ lineage }] = (await assertReferences([{ method: 'fisher', tensors: tensors(compute) }], { dtype })) as [
        Awaited<ReturnType<typeof assertReferences>>[0],
      ]
      const [source] = lineage.tensors.one!.sources
      assert.equal(source!.statistics, { model: 'm0.statistics', tensor: 'one', weight: null })
      assert.is(lineage.models['m0.statistics']!.reference, 'm0-statistics.safetensors')
    }
  })

test('the same bytes on one thread, on two, and read', () =>
  assertAllSteady([{ method: 'fisher', tensors: tensors('float32') }]))

const faultOf = async (folder: string, text: string): Promise<string> => {
  try {
    await plan(path.join(folder, 'recipe.yml'), { text })
  } catch (error) {
    if (error instanceof Fault) return error.diagnostics.map(({ code, message }) => `${code}: ${message}`).join('; ')
    throw error
  }
  return ''
}

test('faults: no statistics, a tensor that they lack, another shape', () =>
  inFolder(async (folder) => {
    const few = withStatistics(models(2, 'float32', { onBase: false }, { w: [4] }))
    const text = writeCase(folder, 'fisher', few)
    assert.is(await faultOf(folder, text), '')
    const without = text.replace('"statistics":"m1-statistics.safetensors"', '"path":"m1.safetensors"')
    assert.match(
      await faultOf(folder, without.replace('"path":"m1.safetensors","path"', '"path"')),
      /missing-statistics: fisher needs statistics of m1/,
    )
    const values = new Float32Array(4)
    writeModel(path.join(folder, 'm1-statistics.safetensors'), { other: { shape: [4], values } }, 'F32')
    assert.match(await faultOf(folder, text), /missing-statistics: the statistics of m1 have no tensor w/)
    writeModel(path.join(folder, 'm1-statistics.safetensors'), { w: { shape: [2, 2], values } }, 'F32')
    assert.match(await faultOf(folder, text), /missing-statistics: w is F32\[2, 2\] in the statistics of m1/)
  }))

/** What planning and running a merge of two models says, given the statistics of the second. */
async function saysOf(
  folder: string,
  few: Tensors,
  statistics: Readonly<Record<string, Float32Array>>,
): Promise<string> {
  const text = writeCase(folder, 'fisher', few)
  const tensors = Object.entries(statistics).map(
    ([name, values]) => [name, { shape: [values.length], values }] as const,
  )
  writeModel(path.join(folder, 'm1-statistics.safetensors'), Object.fromEntries(tensors), 'F32')
  const say = (list: readonly Diagnostic[]) =>
    list.map(({ severity, code, message }) => `${severity} ${code}: ${message}`)
  try {
    const planned = await plan(path.join(folder, 'recipe.yml'), { text, output: path.join(folder, 'made.safetensors') })
    const { warnings } = await run(planned, { threads: 1, sync: false, force: true })
    return say([...planned.plan.warnings, ...warnings]).join('; ')
  } catch (error) {
    if (error instanceof Fault) return `exit ${error.exit} ${say(error.diagnostics).join('; ')}`
    throw error
  }
}

test('what is no Fisher information is refused before anything is written', () =>
  inFolder(async (folder) => {
    const few = withStatistics(models(2, 'float32', { onBase: false }, { w: [4], v: [3] }))
    const [w, v] = [Float32Array.of(1, 2, 3, 4), Float32Array.of(1, 2, 3)]
    assert.is(await saysOf(folder, few, { w, v }), '')
    assert.is(await saysOf(folder, few, { w: new Float32Array(4), v }), '', 'a frozen layer')
    assert.match(
      await saysOf(folder, few, { w, v: v.map((x) => -x) }),
      /^exit 2 error bad-statistics.* m1 .*v has 3 negative/,
    )
    assert.match(
      await saysOf(folder, few, { w: Float32Array.of(1, 2, 3, Number.NaN), v }),
      /^exit 2 error bad-statistics.*NaN/,
    )
    const zeros = { w: new Float32Array(4), v: new Float32Array(3) }
    assert.match(await saysOf(folder, few, zeros), /^warning bad-statistics: the statistics of m1 are 0 in all/)
    assert.match(
      await saysOf(folder, few, { w, v, other: v }),
      /^warning foreign-statistics.*1 tensor that the model lacks, such as other/,
    )
  }))

test('the path of a model, however it is written, is no file of statistics; one file for two models is warned of', () =>
  inFolder(async (folder) => {
    const few = withStatistics(models(2, 'float32', { onBase: false }, { w: [4] }))
    const text = writeCase(folder, 'fisher', few)
    const own = '"statistics":"m1-statistics.safetensors"'
    for (const other of ['m0.safetensors', './m1.safetensors', path.join(folder, 'm0.safetensors')])
      assert.match(
        await faultOf(folder, text.replace(own, `"statistics":"${other}"`)),
        /bad-statistics: .* are the weights of m/,
      )
    const twice = text.replace(own, '"statistics":"m0-statistics.safetensors"')
    const { plan: made } = await plan(path.join(folder, 'recipe.yml'), { text: twice })
    assert.equal(
      made.warnings.map(({ code }) => code),
      ['foreign-statistics'],
    )
  }))

test.run()
