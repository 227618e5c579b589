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
  readonly overall?: number
  readonly similarity?: number
}

/** The events of a command under `--json`, and how long it took in seconds. */
async function events(args: readonly string[], folder: string): Promise<{ steps: Step[]; seconds: number }> {
  const began = performance.now()
  const { code, err } = await terge([...args, '--json'], folder)
  assert.is(code, 0, err)
  const steps = err
    .trimEnd()
    .split('\n')
    // Warnings about the recipe are text.
    .filter((line) => line.startsWith('{'))
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

test('alignments report their overall progress, which never falls, and the similarity, at most 20 times per second', () =>
  inFolder(async (folder) => {
    const models = ['a', 'b', 'c'].map((name, i) => `${name}: ${fixture(`digits/mlp256-${i}.safetensors`)}`).join(', ')
    for (const [kind, merged] of [
      ['{model: b, onto: a, spec: chain}', 'on'],
      ['{models: [a, b, c], method: merge-many, spec: chain}', 'on.b'],
      ['{models: [a, b, c], method: c2m3, spec: chain}', 'on.b'],
    ] as const) {
      const steps = `  on: {rebasin: ${kind}}\n  mean: {merge: {method: linear, models: [a, ${merged}]}}\n`
      const text = `terge: 1\nmodels: {${models}}\nsteps:\n${steps}output: out.safetensors\n`
      writeFileSync(path.join(folder, 'recipe.yml'), text)
      const { steps: all, seconds } = await events(['run', 'recipe.yml', '--force', '--no-sync'], folder)
      const found = all.filter((event) => event.kind === 'step')
      const overall = found.map((event) => event.overall!)
      assert.equal(
        overall,
        [...overall].sort((a, b) => a - b),
        kind,
      )
      assert.equal([found.at(-1)!.fraction, overall.at(-1)], [1, 1])
      assert.match(found.at(-1)!.text, /^similarity -?0\.\d{4} before, 0\.\d{4} after$/)
      const known = found.flatMap(({ similarity }) => (similarity === undefined ? [] : [similarity]))
      assert.ok(known.length > 0 && known.every((similarity) => similarity > 0 && similarity < 1), String(known))
      assert.ok(found.length <= 4 + 20 * seconds, `${found.length} events in ${seconds} s`)
    }
  }))

test.run()
