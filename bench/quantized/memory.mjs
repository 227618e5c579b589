// Peak anonymous memory of a merge of two large checkpoints of each quantized format. The files are sparse: only headers and
// small tensors are written. The result is written nowhere.
// `node bench/quantized/memory.mjs [FORMAT]... [--size 40GB] [--shape 28672x8192] [--threads 2] [--seconds N] [--work DIR]`
// `--seconds` ends each run then: its memory is that of one tensor after another, so that a part of them shows the peak.
import { rmSync, writeFileSync } from 'node:fs'
import { loadavg } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { compile, measure, table } from '../measure.mjs'
import { inWorkFolder } from '../work.mjs'
import { bytesOf, FORMATS } from './formats.mjs'
import { writeModel } from './models.mjs'

const here = path.dirname(fileURLToPath(import.meta.url))
const BIN = path.join(here, '../../bin/run.js')

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    size: { type: 'string', default: '40GB' },
    shape: { type: 'string' },
    threads: { type: 'string', default: '2' },
    seconds: { type: 'string' },
    work: { type: 'string', default: path.join(here, '../.work') },
  },
})

await inWorkFolder(path.resolve(flags.work), false, bench)

async function bench(work) {
  const { formatSize, parseSize } = await import('../../dist/src/core/sizes.js')
  const timed = compile('timed', work)
  const nowhere = compile('quantized/nowhere', work, ['-shared', '-fPIC', '-ldl'])
  const rows = []
  for (const format of positionals.length > 0 ? positionals : Object.keys(FORMATS)) {
    const shape = flags.shape?.split('x').map(Number) ?? FORMATS[format].large ?? [28672, 8192]
    const each = FORMATS[format].tensors(shape).reduce((sum, tensor) => sum + bytesOf(tensor), 0)
    const shapes = Array.from({ length: Math.max(1, Math.round(parseSize(flags.size) / each)) }, () => shape)
    const [a, b] = ['a', 'b'].map((name) => writeModel(path.join(work, name), format, shapes))
    const recipe = path.join(work, 'recipe.yml')
    const output = path.join(work, 'merged')
    writeFileSync(recipe, JSON.stringify({ terge: 1, models: { a, b }, merge: { method: 'linear' }, output }))
    const run = [process.execPath, BIN, 'run', recipe, '--threads', flags.threads, '--no-sync']
    const { anonymous, rollup, cpu, wall, ended } = await measure(timed, ['env', `LD_PRELOAD=${nowhere}`, ...run], {
      cwd: work,
      memory: true,
      ...(flags.seconds ? { seconds: Number(flags.seconds) } : {}),
    })
    for (const folder of [a, b, output, path.join(work, '.merged.terge')])
      rmSync(folder, { recursive: true, force: true })
    const row = [
      ...[format, `${shapes.length} × [${shape}]`, formatSize(2 * shapes.length * each), formatSize(anonymous)],
      ...[formatSize(rollup), cpu.toFixed(0), `${wall.toFixed(0)}${ended ? ' (ended)' : ''}`, loadavg()[0].toFixed(1)],
    ]
    rows.push(row)
    console.log(row.join('  '))
  }
  const head = ['format', 'tensors', 'read', 'peak RssAnon', 'peak Anonymous', 'CPU s', 's', 'load']
  console.log(table([head, ...rows]))
}
