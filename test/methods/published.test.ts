/** Methods against the results of their authors' programs, all cases of fixtures/published-methods in one run. */
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { lookupMethod } from '../../src/methods/registry.js'
import { inFolder } from '../support/files.js'
import { fixture, terge } from '../support/terge.js'

interface Case {
  readonly name: string
  readonly method: string
  readonly parameters: Readonly<Record<string, unknown>>
  /** The set. */
  readonly inputs: string
  readonly base?: 'none'
  readonly expected: string
}

const inSet = (name: string): string => fixture(`published-methods/${name}.safetensors`)
const CASES = (JSON.parse(readFileSync(fixture('published-methods/cases.json'), 'utf8')) as Case[]).filter(
  ({ method }) => lookupMethod(method),
)

/** float32 tensors of a file, by name. */
function read(file: string): Map<string, Float32Array> {
  const bytes = readFileSync(file)
  const length = Number(bytes.readBigUInt64LE())
  const header = JSON.parse(bytes.subarray(8, 8 + length).toString()) as Record<
    string,
    { data_offsets: [number, number] }
  >
  const entries = Object.entries(header).filter(([name]) => name !== '__metadata__')
  return new Map(
    entries.map(
      ([
        name,
        {
          data_offsets: [from, to],
        },
      ]) => [name, new Float32Array(new Uint8Array(bytes.subarray(8 + length + from, 8 + length + to)).buffer)],
    ),
  )
}

const norm = (values: Iterable<number>): number => Math.hypot(...values)

for (const set of new Set(CASES.map(({ inputs }) => inputs)))
  test(`the authors' results of the set ${set}`, () =>
    inFolder(async (folder) => {
      const cases = CASES.filter(({ inputs }) => inputs === set)
      const steps = cases.map(({ method, parameters, base }, index) => {
        const merge = { method, models: ['m0', 'm1', 'm2'], ...(base === 'none' ? {} : { base: 'base' }), parameters }
        return [`s${index}`, { merge }]
      })
      const recipe = {
        terge: 1,
        compute: 'float64',
        models: Object.fromEntries(['base', 'm0', 'm1', 'm2'].map((model) => [model, inSet(`${set}-${model}`)])),
        steps: Object.fromEntries(steps),
        outputs: cases.map((_, index) => ({ path: `out/${index}.safetensors`, from: `s${index}` })),
      }
      writeFileSync(path.join(folder, 'r.yml'), JSON.stringify(recipe, null, 1))
      const ran = await terge(['run', 'r.yml'], folder)
      assert.is(ran.code, 0, ran.err)
      const base = read(inSet(`${set}-base`))
      for (const [index, { name, expected }] of cases.entries()) {
        const [ours, theirs] = [
          read(path.join(folder, `out/${index}.safetensors`)),
          read(fixture(`published-methods/${expected}`)),
        ]
        assert.equal([...ours.keys()].sort(), [...theirs.keys()].sort())
        for (const [tensor, values] of theirs) {
          const change = norm(values.map((value, i) => value - base.get(tensor)![i]!))
          const apart = norm(values.map((value, i) => value - ours.get(tensor)![i]!))
          assert.ok(apart <= 1e-5 * change + 1e-7 * norm(values), `${set} ${name} ${tensor}: ${apart} of ${change}`)
        }
      }
    }))

test.run()
