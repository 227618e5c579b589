/** The measurements of methods in bench/quality agree with what the methods say of themselves, and with terge. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { findMethod, listMethods, type Method, plan, run } from '../../src/index.js'
import { NEVER_ABOVE_AVERAGE } from '../../src/methods/shared/quality.js'
import { inFolder } from '../support/files.js'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const script = (name: string) => import(pathToFileURL(path.join(root, name)).href)

interface Results {
  readonly sets: Readonly<Record<string, { readonly tasks: readonly string[] }>>
  readonly methods: Readonly<
    Record<string, { readonly sets: Readonly<Record<string, { readonly defaults: readonly number[] }>> }>
  >
}
const results = JSON.parse(readFileSync(path.join(root, 'bench/quality/results.json'), 'utf8')) as Results
const { wayOf } = (await script('bench/quality/ways.mjs')) as { wayOf: (method: Method) => { reason?: string } }
const { neverAbove } = (await script('scripts/readme/quality.mjs')) as { neverAbove: () => string[] }

test('every method is measured on three seeds of each set, or has a reason', () => {
  assert.is(Object.keys(results.sets).length, 3)
  for (const method of listMethods()) {
    if (wayOf(method).reason) continue
    for (const set of Object.keys(results.sets))
      assert.is(results.methods[method.name]?.sets[set]?.defaults.length, 3, `${method.name} on ${set}`)
  }
})

test('methods that are on no set better than the average say so, and no others', () => {
  const saying = listMethods().filter(({ note }) => note === NEVER_ABOVE_AVERAGE)
  assert.equal(saying.map(({ name }) => name).sort(), neverAbove().sort())
})

test('the numbers are those that terge gives', () =>
  inFolder(async (folder) => {
    const { openSet } = await script('bench/quality/sets.mjs')
    const { accuracy, readTensors } = await script('bench/quality/network.mjs')
    for (const [name, method] of [
      ['pixels', 'linear'],
      ['pixels', 'wudi'],
      ['text', 'ties'],
    ] as const) {
      const { tasks } = results.sets[name]!
      const set = openSet(name)
      const isOnBase = findMethod(method).base === 'required'
      const output = path.join(folder, `${name}-${method}.safetensors`)
      await run(
        await plan({
          terge: 1,
          models: Object.fromEntries(
            [...(isOnBase ? ['base'] : []), ...tasks].map((kind) => [kind, set.file(1, kind)]),
          ),
          ...(isOnBase ? { base: 'base' } : {}),
          merge: { method, models: tasks },
          output: { path: output, dtype: 'float32' },
        }),
        { threads: 1, sync: false, digests: 'none' },
      )
      const tensors = readTensors(output)
      const found = tasks.map((task) => accuracy(set.layers, tensors, set.tasks[task].test) as number)
      const mean = found.reduce((sum, value) => sum + value, 0) / found.length
      assert.is(Number(mean.toFixed(4)), results.methods[method]!.sets[name]!.defaults[0], `${method} on ${name}`)
    }
  }))

test.run()
