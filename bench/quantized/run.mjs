// What it costs to compute numbers from codes: a merge of two models of each format beside the same merge of BF16, in turns.
// `node bench/quantized/run.mjs [FORMAT]... [--shape 4096x4096] [--matrices 8] [--rounds 7] [--threads 1] [--work DIR] [--keep]`
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { loadavg } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { warm } from '../inputs.mjs'
import { compile, measure, median, table } from '../measure.mjs'
import { inWorkFolder } from '../work.mjs'
import { FORMATS } from './formats.mjs'
import { writeModel } from './models.mjs'

const here = path.dirname(fileURLToPath(import.meta.url))
const BIN = path.join(here, '../../bin/run.js')
const PLAIN = 'BF16'

const slug = (format) => format.toLowerCase().replaceAll(' ', '-')

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    shape: { type: 'string', default: '4096x4096' },
    matrices: { type: 'string', default: '8' },
    rounds: { type: 'string', default: '7' },
    threads: { type: 'string', default: '1' },
    method: { type: 'string', default: 'linear' },
    dtype: { type: 'string', default: 'bfloat16' },
    work: { type: 'string', default: path.join(here, '../.work') },
    keep: { type: 'boolean', default: false },
  },
})

const shape = flags.shape.split('x').map(Number)
const shapes = Array.from({ length: Number(flags.matrices) }, () => shape)
const formats = positionals.length > 0 ? positionals : Object.keys(FORMATS).filter((name) => name !== PLAIN)
const unknown = formats.find((name) => !(name in FORMATS))
if (unknown) throw new Error(`there is no format ${unknown}: ${Object.keys(FORMATS).join(', ')}`)

await inWorkFolder(path.resolve(flags.work), flags.keep, bench)

async function bench(work) {
  const timed = compile('timed', work)
  const out = path.join(work, 'out')
  const run = async (command) => {
    rmSync(out, { recursive: true, force: true })
    return measure(timed, command, { cwd: work })
  }
  const plain = prepare(work, PLAIN, out)
  console.log(`${flags.method} of 2 × ${shapes.length} matrices [${shape}], ${flags.threads} threads, not synced`)
  const rows = []
  for (const format of formats) {
    const load = loadavg()[0].toFixed(1)
    const own = prepare(work, format, out)
    const ratios = []
    // The first pair is not counted. The two of a pair change places from one pair to the next.
    for (let round = 0; round <= Number(flags.rounds); round++) {
      const pair = round % 2 === 0 ? [plain, own] : [own, plain]
      const results = new Map()
      for (const command of pair) results.set(command, await run(command))
      const [a, b] = [results.get(own), results.get(plain)]
      if (round > 0) ratios.push({ cpu: a.cpu / b.cpu, wall: a.wall / b.wall, seconds: a.cpu, plain: b.cpu })
    }
    const of = (key) => ratios.map((ratio) => ratio[key])
    const all = of('cpu')
    const row = [
      ...[format, median(of('plain')).toFixed(2), median(of('seconds')).toFixed(2), median(all).toFixed(2)],
      ...[`${Math.min(...all).toFixed(2)}–${Math.max(...all).toFixed(2)}`, median(of('wall')).toFixed(2)],
      `${load}–${loadavg()[0].toFixed(1)}`,
    ]
    rows.push(row)
    console.log(row.join('  '))
    if (!flags.keep) rmSync(path.join(work, slug(format)), { recursive: true, force: true })
  }
  console.log(table([['format', 'BF16 CPU s', 'CPU s', '× CPU', 'from–to', '× wall', 'load'], ...rows]))
}

/** Models and a recipe of a format; the command. */
function prepare(work, format, out) {
  const folder = path.join(work, slug(format))
  mkdirSync(folder, { recursive: true })
  const [a, b] = ['a', 'b'].map((name, n) => writeModel(path.join(folder, name), format, shapes, n + 1))
  warm([a, b].map((model) => path.join(model, 'model.safetensors')))
  const recipe = path.join(folder, 'recipe.yml')
  const merge = { method: flags.method }
  const output = { path: path.join(out, 'merged'), dtype: flags.dtype }
  writeFileSync(recipe, JSON.stringify({ terge: 1, models: { a, b }, merge, output }))
  return [process.execPath, BIN, 'run', recipe, '--threads', flags.threads, '--no-sync']
}
