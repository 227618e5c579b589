/** The progress of commands that read whole models. */
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { inFolder } from '../support/files.js'
import { fixture, terge } from '../support/terge.js'

const recipe = `terge: 1
models: {a: ${fixture('digits/resnet-0.safetensors')}, b: ${fixture('digits/resnet-1.safetensors')}}
merge: {method: linear}
output: out.safetensors
`

interface Step {
  readonly kind: string
  readonly step: string
  readonly text: string
  readonly fraction?: number
}

/** The events of a command under `--json`, and how long it took in seconds. */
async function events(args: readonly string[], folder: string): Promise<{ steps: Step[]; seconds: number }> {
  const began = performance.now()
  const { code, err } = await terge([...args, '--json'], folder)
  assert.is(code, 0, err)
  const steps = err
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Step)
  return { steps, seconds: (performance.now() - began) / 1000 }
}

test('verify and lock report totals, at most 20 per second, and the last one is complete', () =>
  inFolder(async (folder) => {
    writeFileSync(path.join(folder, 'recipe.yml'), recipe)
    assert.is((await terge(['run', 'recipe.yml'], folder)).code, 0)
    for (const [command, file] of [
      ['lock', 'recipe.yml'],
      ['verify', 'out.lineage.json'],
    ] as const) {
      const { steps, seconds } = await events([command, file], folder)
      assert.ok(
        steps.every(({ kind, step }) => kind === 'step' && step === command),
        command,
      )
      const fractions = steps.map(({ fraction }) => fraction!)
      assert.equal(
        fractions,
        [...fractions].sort((a, b) => a - b),
        command,
      )
      assert.equal(
        fractions.filter((fraction) => fraction >= 1),
        [1],
      )
      assert.is(fractions.at(-1), 1)
      assert.ok(steps.length <= 2 + 20 * seconds, `${command}: ${steps.length} events in ${seconds} s`)
    }
  }))

test.run()
