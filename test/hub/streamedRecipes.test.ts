/** Recipes of all kinds whose models are fetched a few files at a time: the bytes and lineages of a run with everything there. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type Fault, plan, planDownloads, run } from '../../src/index.js'
import { matrix, stored } from '../support/adapters.js'
import { f32, numbers, safetensors } from '../support/files.js'
import { fixture } from '../support/terge.js'
import { repository, shards, withHub } from './setup.js'
import { wholeFiles, within } from './streams.js'

const read = (name: string): Buffer => readFileSync(fixture(name))
const digits = (n: number) => ({ 'model.safetensors': read(`digits/mlp256-${n}.safetensors`) })
const PACKED = 'fp8-block-32x64'
const packed = Object.fromEntries(
  readdirSync(fixture(`packed/${PACKED}`))
    .filter((name) => !name.endsWith('.gz'))
    .map((name) => [name, read(`packed/${PACKED}/${name}`)]),
)
const LAYERS = [0, 1, 2, 3]
const lora = (seed: number) => ({
  'adapter_config.json': Buffer.from(JSON.stringify({ peft_type: 'LORA', r: 4, lora_alpha: 8 })),
  'adapter_model.safetensors': safetensors(
    Object.fromEntries(
      LAYERS.flatMap((layer) => [
        [`base_model.model.layers.${layer}.lora_A.weight`, stored(matrix([4, 64], seed + layer))],
        [`base_model.model.layers.${layer}.lora_B.weight`, stored(matrix([64, 4], seed + 9 + layer))],
      ]),
    ),
  ),
})
/** The shards of a model with names that adapters have. */
const weights = (seed: number, each: number) => {
  const files = shards(seed, LAYERS.length, each)
  const renamed = Object.entries(files).map(([name, bytes]) => {
    const text = Buffer.from(bytes).toString('latin1')
    if (name.endsWith('.json')) return [name, Buffer.from(text.replaceAll('.w"', '.weight"'))] as const
    const start = 8 + Number(Buffer.from(bytes).readBigUInt64LE())
    const header = Buffer.from(text.slice(8, start).replaceAll('.w"', '.weight"'), 'latin1')
    const length = Buffer.alloc(8)
    length.writeBigUInt64LE(BigInt(header.length))
    return [name, Buffer.concat([length, header, Buffer.from(bytes.subarray(start))])] as const
  })
  return Object.fromEntries(renamed)
}

const REPOSITORIES = {
  'org/a': repository(weights(1, 1)),
  'org/b': repository(weights(2, 2)),
  'org/c': repository(weights(3, 3)),
  'org/lora': repository(lora(2)),
  'org/more': repository(lora(40)),
  'org/m0': repository(digits(0)),
  'org/m1': repository(digits(1)),
  'org/torch': repository({ 'pytorch_model.bin': read('torch/mlp256-0.pt') }),
  'org/packed': repository(packed),
}

interface Case {
  readonly name: string
  /** The recipe without its outputs. */
  readonly text: string
  readonly outputs?: string
  /** How often the files come with the least disk, about. Default: once. */
  readonly times?: number
}

const EVALUATE = `evaluate: {command: [node, -e, 'console.log(JSON.stringify({loss: 1}))']}\n`
/** Squares of gradients. */
const FISHER = safetensors(
  Object.fromEntries(
    LAYERS.map((layer) => [
      `layers.${layer}.weight`,
      f32(
        [64, 64],
        numbers(4096, 70 + layer).map((x) => x * x),
      ),
    ]),
  ),
)
const ABC = 'models: {a: hf:org/a, b: hf:org/b, c: hf:org/c}\n'
const CASES: readonly Case[] = [
  { name: 'ties', text: `${ABC}merge: {method: ties, base: a}\n` },
  // Four passes over all models, and the merge.
  { name: 'scope', text: `${ABC}merge: {method: pcb, base: a}\n`, times: 5 },
  {
    name: 'outputs',
    text: `${ABC}steps:\n  m: {merge: {method: linear, models: [a, b]}}\n  n: {merge: {method: nuslerp, models: [b, c]}}\n`,
    outputs: 'outputs: [{from: m, path: m}, {from: n, path: n.safetensors}]\n',
  },
  {
    name: 'path',
    text: 'models: {a: hf:org/a, b: hf:org/b}\nsteps:\n  path: {interpolate: {from: a, to: b, at: [0.2, 0.5, 0.8]}}\n',
    times: 3,
  },
  { name: 'lora', text: 'models: {a: {hub: org/a, lora: hf:org/lora}, b: hf:org/b}\nmerge: {method: linear}\n' },
  {
    name: 'energy',
    text: 'models: {a: hf:org/lora, b: hf:org/more}\nmerge: {method: linear, energy: 0.7}\n',
    times: 2,
  },
  {
    name: 'rebasin',
    text: 'models: {a: hf:org/m0, b: hf:org/m1}\nrebasin: {model: b, onto: a, spec: chain, max_iterations: 1}\nmerge: {method: linear}\n',
  },
  {
    name: 'select',
    text: `models: {a: hf:org/m0, b: hf:org/m1}\nrebasin: {model: b, onto: a, spec: chain, max_iterations: 1, restarts: 2, select: {minimize: loss}}\nmerge: {method: linear}\n${EVALUATE}`,
  },
  {
    name: 'check',
    text: `models: {a: hf:org/m0, b: hf:org/m1}\nrebasin: {model: b, onto: a, spec: chain, max_iterations: 1, check: {command: [node, -e, 'console.log(JSON.stringify({loss: 1}))']}}\nmerge: {method: linear}\n`,
  },
  {
    name: 'fisher',
    text: 'models: {a: {hub: org/a, statistics: f.safetensors}, b: {hub: org/b, statistics: f.safetensors}}\nmerge: {method: fisher}\n',
  },
  { name: 'torch', text: 'models: {a: hf:org/torch, b: hf:org/torch@main}\nmerge: {method: linear}\n' },
  { name: 'packed', text: 'models: {a: hf:org/packed}\nmerge: {method: passthrough}\n' },
]

/** All files of a folder but model cards, which name it. */
const filesIn = (folder: string): Map<string, Buffer> =>
  new Map(
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && entry.name !== 'README.md')
      .map(({ parentPath, name }) => path.join(parentPath, name))
      .map((file) => [path.relative(folder, file), readFileSync(file)]),
  )

test('recipes of all kinds, with the least disk', () =>
  withHub({ repositories: REPOSITORIES }, (bench) =>
    within(bench, async () => {
      const { hub, folder } = bench
      const prepare = (one: Case, into: string) => {
        mkdirSync(path.join(folder, into), { recursive: true })
        writeFileSync(path.join(folder, into, 'f.safetensors'), FISHER)
        const { outputs = 'output: out\n' } = one
        return plan(path.join(folder, into, 'r.yml'), { text: `terge: 1\n${one.text}${outputs}` })
      }
      const options = { threads: 1, sync: false, sha256: true, commands: 'run' } as const
      for (const one of CASES) {
        const prepared = await prepare(one, `${one.name}-streamed`)
        const downloads = (await planDownloads(prepared))!
        const { leastDisk } = downloads
        const { bounded } = (await planDownloads(prepared, { disk: leastDisk }))!
        assert.is(bounded!.bytes, downloads.bytesAtLeast, one.name)
        assert.ok(bounded!.stages > 0)
        const less = await planDownloads(prepared, { disk: leastDisk - 1 }).catch((error: unknown) => error)
        assert.is((less as Fault).diagnostics[0]!.code, 'disk-too-small', one.name)
        hub.seen.length = 0
        const events: string[] = []
        await run(prepared, {
          ...{ ...options, disk: leastDisk },
          listen: (event) => event.kind === 'step' && event.step === 'fetch' && events.push(event.text),
        }).catch((error: unknown) => {
          throw new Error(`${one.name}: ${(error as Error).stack}`)
        })
        const sent = [...wholeFiles(hub).values()].reduce((sum, bytes) => sum + bytes, 0)
        assert.is(sent, downloads.bytesAtLeast, `${one.name}: bytes`)
        const times = downloads.bytesAtLeast / downloads.bytes
        assert.is(Math.round(times), one.times ?? 1, `${one.name}: ${times} times`)
        if (downloads.diskForOnce !== undefined) {
          hub.seen.length = 0
          await run(await prepare(one, `${one.name}-once`), { ...options, disk: downloads.diskForOnce })
          const once = [...wholeFiles(hub).values()].reduce((sum, bytes) => sum + bytes, 0)
          assert.is(once, downloads.bytes, `${one.name}: bytes once`)
        }
      }
      for (const one of CASES) {
        await run(await prepare(one, `${one.name}-whole`), options)
        const whole = filesIn(path.join(folder, `${one.name}-whole`))
        assert.ok(whole.size > 1)
        for (const way of one.name === 'energy' ? ['streamed'] : ['streamed', 'once']) {
          const found = filesIn(path.join(folder, `${one.name}-${way}`))
          assert.equal([...found.keys()].sort(), [...whole.keys()].sort(), one.name)
          for (const [name, bytes] of whole) assert.ok(bytes.equals(found.get(name)!), `${one.name} ${way}: ${name}`)
        }
      }
    }),
  ))

test.run()
