/** A computed tensor may be stored in parts: in several tensors, in several files. */
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { inspect } from '../../src/session/inspect.js'
import { type Prepared, plan } from '../../src/session/plan.js'
import { run } from '../../src/session/run.js'
import { verify } from '../../src/session/verify.js'
import { bf16, i64, inFolder, numbers, writeModel } from '../support/files.js'
import { cut } from '../support/parted.js'

/** Rows of a width that shares no factor with a tile or a leaf of digests; two of the parts begin in the middle of both. */
const WIDTH = 1003
const PARTS = [301, 7, 293]
const ROWS = PARTS.reduce((sum, rows) => sum + rows)

const RECIPE = `terge: 1
models: {a: a.safetensors, b: b.safetensors}
merge: {method: linear, weights: [1, 2]}
output: {path: out, shard_size: 650kB}
`

function prepareFolder(folder: string): string {
  for (const [seed, name] of ['a', 'b'].entries())
    writeModel(path.join(folder, `${name}.safetensors`), {
      copied: i64(
        [6],
        [1n, 2n, 3n, 4n, 5n, 6n].map((value) => value * BigInt(seed + 1)),
      ),
      fused: bf16([ROWS, WIDTH], numbers(ROWS * WIDTH, seed)),
    })
  const file = path.join(folder, 'r.yaml')
  writeFileSync(file, RECIPE)
  return file
}

async function bytesIn(folder: string): Promise<Map<string, Buffer>> {
  const { files, stored } = await inspect(folder)
  const contents = files.map((file) => readFileSync(file.path))
  return new Map(
    [...stored.values()].map(({ name, file, offset, bytes }) => [
      name,
      contents[file]!.subarray(offset, offset + bytes),
    ]),
  )
}

test('one tensor is stored in three parts of two files, and its lineage is correct', () =>
  inFolder(async (folder) => {
    const file = prepareFolder(folder)
    const prepared = await plan(file)
    await run(prepared, { sync: false })
    const whole = await bytesIn(path.join(folder, 'out'))
    const cutPlan = cut(prepared.plan, { copied: [1, 5], fused: PARTS })
    const parted: Prepared = {
      ...prepared,
      plan: cutPlan,
      bindings: { ...prepared.bindings, outputs: [path.join(folder, 'parts')] },
    }
    const placements = cutPlan.outputs[0]!.tensors.find(({ name }) => name === 'fused')!.placements
    assert.equal([placements.length, new Set(placements.map((placement) => placement.file)).size], [3, 2])
    for (const threads of [1, 2]) {
      await run(parted, { sync: false, threads, force: true })
      const parts = await bytesIn(path.join(folder, 'parts'))
      for (const [name, bytes] of whole) {
        const own = [...parts].filter(([part]) => part.startsWith(`${name}.`)).map(([, part]) => part)
        assert.ok(Buffer.concat(own).equals(bytes), name)
      }
      const { problems } = await verify(path.join(folder, 'parts/lineage.json'))
      assert.equal(problems, [])
    }
  }))

test.run()
