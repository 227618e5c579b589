// What a LoRA and a PyTorch input cost: the same merge from plain safetensors, with adapters on one model, and with that model as a
// `.bin`, in turns. `node bench/inputCost.mjs [--size 1GiB] [--threads 2] [--rounds 7] [--ranks 16,64] [--work DIR]`
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { loadavg } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { makeAdapter, makeModels, warm } from './inputs.mjs'
import { compile, measure, median, table } from './measure.mjs'
import { writePytorch } from './pytorch.mjs'
import { inWorkFolder } from './work.mjs'

const here = path.dirname(fileURLToPath(import.meta.url))
const BIN = path.join(here, '../bin/run.js')

const { values: flags } = parseArgs({
  options: {
    size: { type: 'string', default: '1GiB' },
    threads: { type: 'string', default: '2' },
    rounds: { type: 'string', default: '7' },
    ranks: { type: 'string', default: '16,64' },
    work: { type: 'string', default: path.join(here, '.work') },
    keep: { type: 'boolean', default: false },
  },
})

await inWorkFolder(path.resolve(flags.work), flags.keep, bench)

async function bench(work) {
  const { parseSize } = await import('../dist/src/core/sizes.js')
  const timed = compile('timed', work)
  const [a, b] = makeModels(work, 2, parseSize(flags.size))
  const pytorch = path.join(work, 'model-1.bin')
  writePytorch(b, pytorch)
  const adapters = flags.ranks.split(',').map((rank) => [rank, makeAdapter(work, b, Number(rank))])
  const second = [
    ['safetensors', b],
    ...adapters.map(([rank, folder]) => [`LoRA, rank ${rank}`, { path: b, lora: folder }]),
    ['PyTorch', pytorch],
  ]
  const out = path.join(work, 'out')
  const commands = second.map(([name, model], n) => {
    const recipe = path.join(work, `cost-${n}.yml`)
    const text = {
      terge: 1,
      models: { a, b: model },
      merge: { method: 'linear' },
      output: path.join(out, 'x.safetensors'),
    }
    writeFileSync(recipe, JSON.stringify(text))
    return [name, [process.execPath, BIN, 'run', recipe, '--threads', flags.threads, '--no-sync', '--digests', 'fast']]
  })
  warm([a, b, pytorch])
  const results = new Map(commands.map(([name]) => [name, []]))
  // The first round is not counted.
  for (let round = 0; round <= Number(flags.rounds); round++)
    for (const [name, command] of commands) {
      rmSync(out, { recursive: true, force: true })
      mkdirSync(out)
      const result = await measure(timed, command, { cwd: work })
      if (round > 0) results.get(name).push(result)
    }
  const plain = results.get('safetensors')
  const rows = [...results].map(([name, rounds]) => {
    const ratio = (of) => median(rounds.map((result, round) => result[of] / plain[round][of])).toFixed(2)
    const walls = rounds.map(({ wall }) => wall)
    return [
      name,
      median(walls).toFixed(2),
      `${Math.min(...walls).toFixed(2)}–${Math.max(...walls).toFixed(2)}`,
      ratio('wall'),
      ratio('cpu'),
    ]
  })
  console.log(`linear of two models, ${flags.size} each, ${flags.threads} threads, not synced`)
  console.log(table([['the second one', 'seconds', 'from–to', '× safetensors', '× its CPU time'], ...rows]))
  console.log(`load ${loadavg()[0].toFixed(1)}`)
}
