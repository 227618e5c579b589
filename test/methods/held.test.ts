import { truncateSync, writeFileSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { ALONE } from '../../src/execute/worker/held.js'
import { plan, validate } from '../../src/session/plan.js'
import { layOut } from '../checkpoints/helpers.js'
import { reference } from '../reference/index.js'
import { inFolder } from '../support/files.js'
import { assertClose, assertSame, inDtype, merge, named, runOutputs, runRecipe, writeCases } from './harness.js'
import { MATRIX_METHODS, models } from './samples.js'

const SHAPES = { 'layer.weight': [40, 30], 'layer.bias': [30] }

test('the plan says how much memory matrices take, and a run with less is refused by name', async () => {
  const tensors = models(2, 'float32', {}, { 'layer.weight': [300, 200] })
  await inFolder(async (folder) => {
    const text = writeCases(folder, [{ method: 'tsv_m', tensors }])
    const { cost } = (await plan(`${folder}/recipe.yml`, { text })).plan
    assert.is(cost.held?.tensor, 'layer.weight')
    assert.ok((cost.held?.bytes ?? 0) > 4 * 300 * 200 && (cost.held?.operations ?? 0) > 300 * 200 * 200)
    try {
      await runRecipe(folder, text, 'float32', { memory: 40e6 })
      assert.unreachable()
    } catch (error) {
      const [problem] = (error as { diagnostics: { code: string; message: string }[] }).diagnostics
      assert.is(problem?.code, 'memory-too-small')
      assert.match(problem?.message ?? '', /layer\.weight: tsv_m keeps its whole matrices in memory/)
    }
  })
})

test('a matrix too large for any memory is a fault of the plan', async () => {
  await inFolder(async (folder) => {
    const layout = layOut([{ name: 'huge.weight', dtype: 'BF16', shape: [30000, 30000] }], {
      kind: 'file',
      metadata: {},
    })
    const { header, size } = layout.files[0]!
    for (const name of ['base', 'a', 'b']) {
      // All but the header is a hole.
      writeFileSync(`${folder}/${name}.safetensors`, header)
      truncateSync(`${folder}/${name}.safetensors`, size)
    }
    const text = JSON.stringify({
      terge: 1,
      models: { base: 'base.safetensors', a: 'a.safetensors', b: 'b.safetensors' },
      base: 'base',
      merge: { method: 'iso_c' },
      output: 'out.safetensors',
    })
    const { diagnostics } = await validate(`${folder}/recipe.yml`, { text })
    assert.equal(
      diagnostics.map(({ code }) => code),
      ['matrices-too-large'],
    )
    assert.match(diagnostics[0]!.message, /huge\.weight/)
  })
})

test('held work as an inner step, twice in one program: nothing is rounded between', async () => {
  const tensors = models(2, 'float64', {}, SHAPES)
  await inFolder(async (folder) => {
    writeCases(folder, [{ method: 'iso_c', tensors }])
    const text = JSON.stringify({
      terge: 1,
      models: { base: '0-base.safetensors', m0: 'm0.safetensors', m1: 'm1.safetensors' },
      steps: {
        apart: { merge: { method: 'tsv_m', base: 'base', models: ['m0', 'm1'] } },
        strong: { merge: { method: 'star', base: 'base', models: ['m0', 'm1'] } },
        all: { merge: { method: 'iso_c', base: 'base', models: ['apart', 'strong'] } },
      },
      compute: 'float64',
      output: { from: 'all', path: 'out.safetensors', dtype: 'float64' },
    })
    const runs = [await runRecipe(folder, text, 'float64', { threads: 1 }), await runRecipe(folder, text, 'float64')]
    assert.equal(runs[0]!.bytes, runs[1]!.bytes)
    for (const [name, given] of Object.entries(tensors)) {
      const stored = named(inDtype(given, 'F32'), name)
      const inputs = ['tsv_m', 'star'].map((method) => reference(method, stored))
      const expected = reference('iso_c', { ...stored, inputs })
      assertClose(runs[1]!.tensors[name]!, expected, 1e-8, name)
    }
  })
})

test('matrices that are worth a team: the same bytes by one thread and by three', async () => {
  const tensors = models(3, 'float32', {}, { 'layer.weight': [300, 240] })
  await inFolder(async (folder) => {
    for (const method of MATRIX_METHODS) {
      const { cost } = (await plan(`${folder}/recipe.yml`, { text: writeCases(folder, [{ method, tensors }]) })).plan
      assert.ok(cost.held!.operations > ALONE, `${method}: ${cost.held!.operations}`)
    }
    const text = writeCases(
      folder,
      MATRIX_METHODS.map((method) => ({ method, tensors })),
    )
    const [alone, together] = [
      await runOutputs(folder, text, 'float32', { threads: 1 }),
      await runOutputs(folder, text, 'float32', { threads: 3 }),
    ]
    for (const [index, method] of MATRIX_METHODS.entries())
      assert.ok(alone[index]!.bytes.equals(together[index]!.bytes), method)
  })
})

// Of opcm, whose scale is that of the whole model, it makes everything none.
test('what is no number makes the whole matrix none; a δ of 0 leaves the base', async () => {
  const [shape, n] = [[12, 9], 108]
  const base = Float32Array.from({ length: n }, (_, i) => i / n)
  const spoiled = base.map((x, i) => (i === 50 ? Number.NaN : x + (i % 7)))
  for (const method of MATRIX_METHODS.filter((name) => name !== 'opcm')) {
    const given = { inputs: [base, base, base], base, shape, compute: 'float32' as const }
    const merged = await merge(method, { w: given, bad: { ...given, inputs: [base, base, spoiled] } })
    assertSame(merged.tensors.w!, base, method)
    assert.ok(
      merged.tensors.bad!.every((x) => Number.isNaN(x)),
      method,
    )
  }
})

test.run()
