/** Models of very many tensors through the real command: the memory that each tensor takes is bounded. */

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { inFolder } from '../support/files.js'
import { tergeProcess } from '../support/terge.js'

const TENSORS = 12_000
/**
 * Megabytes of V8's heap: some 40 for the program, and 2.6 KB for each tensor of the merge of two models. With some more than it
 * needs, little time goes into collecting garbage.
 */
const HEAP = 72

const nameOf = (index: number): string => `model.layers.${index >> 8}.mlp.experts.${index & 255}.w1.weight_scale_inv`

/** A folder with one file of tensors of two elements each. */
function manyTensors(folder: string, fill: number): void {
  mkdirSync(folder)
  const entries = Array.from(
    { length: TENSORS },
    (_, index) => `"${nameOf(index)}":{"dtype":"F32","shape":[2],"data_offsets":[${8 * index},${8 * index + 8}]}`,
  )
  const header = Buffer.from(`{${entries.join(',')}}`)
  const size = Buffer.alloc(8)
  size.writeBigUInt64LE(BigInt(header.length))
  const data = Float32Array.from({ length: 2 * TENSORS }, (_, index) => fill + (index % 64))
  writeFileSync(path.join(folder, 'model.safetensors'), Buffer.concat([size, header, Buffer.from(data.buffer)]))
}

test('merging and verifying many tensors works with a small heap', () =>
  inFolder(async (folder) => {
    manyTensors(path.join(folder, 'a'), 1)
    manyTensors(path.join(folder, 'b'), 3)
    writeFileSync(
      path.join(folder, 'r.yml'),
      'terge: 1\nmodels: {a: a, b: b}\nmerge: {method: linear}\noutput: {path: out, shard_size: 40KB}\n',
    )
    const env = { NODE_OPTIONS: `--max-old-space-size=${HEAP}` }
    const ran = await tergeProcess(['run', 'r.yml', '--threads', '1', '--no-sync'], folder, env)
    assert.is(ran.code, 0, ran.err.slice(-2000))
    const index = JSON.parse(readFileSync(path.join(folder, 'out/model.safetensors.index.json'), 'utf8'))
    assert.is(Object.keys(index.weight_map).length, TENSORS)
    const bytes = readFileSync(path.join(folder, 'out', index.weight_map[nameOf(0)]))
    const length = Number(bytes.readBigUInt64LE(0))
    const header = JSON.parse(bytes.toString('utf8', 8, 8 + length))
    const [begin] = header[nameOf(0)].data_offsets
    assert.equal([bytes.readFloatLE(8 + length + begin), bytes.readFloatLE(12 + length + begin)], [2, 3])
    const lineage = JSON.parse(readFileSync(path.join(folder, 'out/lineage.json'), 'utf8'))
    assert.is(lineage.output.tensors, TENSORS)
    const small = await tergeProcess(['plan', 'r.yml'], folder, {
      NODE_OPTIONS: '--max-old-space-size=24 --max-semi-space-size=1',
    })
    assert.is(small.code, 2, small.err.slice(-2000))
    assert.match(small.err, /plan-too-large: .*heap limit[\s\S]*NODE_OPTIONS=--max-old-space-size=1024/)
    const verified = await tergeProcess(['verify', 'out/lineage.json', '--threads', '1'], folder, env)
    assert.is(verified.code, 0, verified.err.slice(-2000))
  }))

test.run()
