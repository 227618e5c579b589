// What digests cost: the same merges with --digests none, fast and full, in turns. `full` once with nothing known of the inputs, and once with the
// SHA-256 of the inputs remembered. `node bench/digests.mjs [--size 1GiB] [--threads 2] [--rounds 5] [--methods linear,ties,tsv_m] [--work DIR]`
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { loadavg } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { makeModels, warm } from './inputs.mjs'
import { compile, measure, median, table } from './measure.mjs'
import { inWorkFolder } from './work.mjs'

const here = path.dirname(fileURLToPath(import.meta.url))
const BIN = path.join(here, '../bin/run.js')

const { values: flags } = parseArgs({
  options: {
    size: { type: 'string', default: '1GiB' },
    threads: { type: 'string', default: '2' },
    rounds: { type: 'string', default: '5' },
    methods: { type: 'string', default: 'linear,ties,tsv_m' },
    work: { type: 'string', default: path.join(here, '.work') },
    keep: { type: 'boolean', default: false },
  },
})

/** Whether the method takes task vectors. */
const hasBase = (method) => method !== 'linear'

await inWorkFolder(path.resolve(flags.work), flags.keep, bench)

async function bench(work) {
  const { parseSize } = await import('../dist/src/core/sizes.js')
  const timed = compile('timed', work)
  const [a, b, base] = makeModels(work, 3, parseSize(flags.size))
  const out = path.join(work, 'out')
  const cache = path.join(work, 'cache')
  process.env.TERGE_CACHE = cache
  warm([a, b, base])
  const variants = ['none', 'fast', 'full', 'full, inputs known']
  for (const method of flags.methods.split(',')) {
    const recipe = path.join(work, `${method}.yml`)
    const merge = hasBase(method) ? { method, base: 'base', models: ['a', 'b'] } : { method }
    const models = hasBase(method) ? { base, a, b } : { a, b }
    writeFileSync(recipe, JSON.stringify({ terge: 1, models, merge, output: path.join(out, 'x.safetensors') }))
    const results = new Map(variants.map((variant) => [variant, []]))
    // The first round is not counted.
    for (let round = 0; round <= Number(flags.rounds); round++)
      for (const variant of variants) {
        rmSync(out, { recursive: true, force: true })
        if (!variant.includes('known')) rmSync(cache, { recursive: true, force: true })
        mkdirSync(out)
        const digests = variant.split(',')[0]
        const command = [process.execPath, BIN, 'run', recipe, '--threads', flags.threads, '--no-sync']
        const result = await measure(timed, [...command, '--digests', digests], { cwd: work })
        if (round > 0) results.get(variant).push(result)
      }
    const plain = results.get('fast')
    const rows = [...results].map(([variant, rounds]) => {
      const ratio = (of) => median(rounds.map((result, round) => result[of] / plain[round][of])).toFixed(2)
      const seconds = (of) => median(rounds.map((result) => result[of])).toFixed(2)
      return [variant, seconds('wall'), ratio('wall'), seconds('cpu'), ratio('cpu')]
    })
    console.log(`${method} of two models, ${flags.size} each, ${flags.threads} threads, not synced`)
    console.log(table([['digests', 'seconds', '× fast', 'CPU seconds', '× fast'], ...rows]))
    console.log(`load ${loadavg()[0].toFixed(1)}`)
  }
}
