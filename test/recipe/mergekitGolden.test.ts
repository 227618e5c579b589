/** Unchanged mergekit configurations, run with the real command, against the results of an independent implementation. */

import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { lookupMethod } from '../../src/methods/registry.js'
import { inFolder } from '../support/files.js'
import { fixture, terge } from '../support/terge.js'
import { readTensors } from './tensors.js'

/** Tolerances by method: methods that rank magnitudes may order equal magnitudes differently. */
const RANKED = ['ties', 'dare_ties', 'della', 'breadcrumbs', 'breadcrumbs_ties', 'sce', 'arcee_fusion']
const SMOOTH = 2e-6
const ASTRAY = 1e-4

const files = readdirSync(fixture('golden')).filter((name) => name.endsWith('.yml'))

for (const file of files) {
  const method = /^merge_method: *(\w+)/m.exec(readFileSync(fixture(`golden/${file}`), 'utf8'))![1]!
  if (!lookupMethod(method)) continue
  test(`golden/${file}`, () =>
    inFolder(async (folder) => {
      const ran = await terge(['run', fixture(`golden/${file}`), '-o', 'out.safetensors', '--threads', '1'], folder)
      assert.equal([ran.code, ran.err.includes('warning')], [0, false], ran.err)
      const ours = readTensors(path.join(folder, 'out.safetensors'))
      const theirs = readTensors(fixture(`golden/${file.replace('.yml', '.safetensors')}`))
      assert.equal([...ours.keys()].sort(), [...theirs.keys()].sort())
      for (const [name, { dtype, shape, values }] of theirs) {
        const own = ours.get(name)!
        assert.equal([own.dtype, own.shape], [dtype, shape], name)
        const most = values.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0)
        const off = values.filter((value, i) => !(Math.abs(value - own.values[i]!) <= SMOOTH * most)).length
        assert.ok(
          off <= (RANKED.includes(method) ? ASTRAY * values.length : 0),
          `${name}: ${off} of ${values.length} off`,
        )
      }
    }))
}

test('the golden configurations exist', () => {
  assert.is(files.length, 6)
})

test.run()
