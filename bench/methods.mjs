// How much each method of the registry costs, as a ratio to linear with as many inputs of the same size.
// node bench/methods.mjs [--size 256MiB] [--one-tensor] [--models 2] [--threads N] [--rounds 3] [--only NAME]... [--work DIR] [--keep]
// --one-tensor --size 8MiB: a matrix of 2048 × 2048.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, loadavg } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { makeModels, warm } from './inputs.mjs'
import { compile, measure, median, table } from './measure.mjs'
import { apart, participants, recipeText } from './recipe.mjs'
import { inWorkFolder } from './work.mjs'

const here = path.dirname(fileURLToPath(import.meta.url))
const BIN = path.join(here, '../bin/run.js')

const { values: flags } = parseArgs({
  options: {
    size: { type: 'string', default: '256MiB' },
    'one-tensor': { type: 'boolean', default: false },
    models: { type: 'string', default: '2' },
    threads: { type: 'string', default: String(availableParallelism()) },
    rounds: { type: 'string', default: '3' },
    only: { type: 'string', multiple: true },
    work: { type: 'string', default: path.join(here, '.work') },
    keep: { type: 'boolean', default: false },
  },
})

const [{ METHODS, lookupMethod }, { parseSize }, { validate }] = await Promise.all(
  ['methods/registry', 'core/sizes', 'index'].map((name) => import(`../dist/src/${name}.js`)),
)
await inWorkFolder(path.resolve(flags.work), flags.keep, bench)

async function bench(work) {
  const out = path.join(work, 'out')
  const timed = compile('timed', work)
  const linear = lookupMethod('linear')
  const methods = METHODS.filter(({ name }) => name !== 'linear' && (flags.only?.includes(name) ?? true))
  const inputs = (method) => participants(method, Number(flags.models)) + (apart(method) ? 1 : 0)
  const most = Math.max(linear.models.least, ...methods.map(inputs))
  const files = makeModels(work, most, parseSize(flags.size), flags['one-tensor'])
  warm(files)

  const command = (recipe) => [
    process.execPath,
    BIN,
    'run',
    recipe,
    '--threads',
    flags.threads,
    '--memory',
    '4GB',
    '--no-sync',
    // SHA-256 costs the same with every method.
    ...['--digests', 'fast'],
  ]
  const once = async (recipe) => {
    rmSync(out, { recursive: true, force: true })
    mkdirSync(out)
    return await measure(timed, command(recipe))
  }
  const written = async (method, count, name) => {
    const recipe = path.join(work, `${name}.yml`)
    writeFileSync(recipe, recipeText(method, files.slice(0, count), path.join(out, 'merged.safetensors')))
    const { diagnostics } = await validate(recipe)
    const error = diagnostics.find(({ severity }) => severity === 'error')
    return error ? { error: error.message } : { recipe }
  }

  console.log(`${flags.size} a model, ${flags.threads} threads; load ${loadavg()[0].toFixed(1)}`)
  const rows = []
  const left = []
  for (const method of methods) {
    // Linear averages two models at least: passthrough is held against that.
    const count = inputs(method)
    const mine = await written(method, count, 'method')
    if (mine.error) {
      left.push(`${method.name}: not measured (${mine.error})`)
      continue
    }
    const theirs = await written(linear, Math.max(count, linear.models.least), 'linear')
    const pairs = []
    for (let round = 0; round < Number(flags.rounds); round++) {
      const reference = await once(theirs.recipe)
      pairs.push([await once(mine.recipe), reference])
    }
    const seconds = (of) => median(pairs.map(([own]) => own[of])).toFixed(2)
    const ratio = (of) => median(pairs.map(([own, reference]) => own[of] / reference[of])).toFixed(2)
    rows.push([method.name, String(count), seconds('wall'), seconds('cpu'), ratio('wall'), ratio('cpu')])
  }
  console.log(table([['method', 'inputs', 'seconds', 'CPU s', '× linear', '× its CPU s'], ...rows]))
  for (const line of left) console.log(line)
  console.log(`load ${loadavg()[0].toFixed(1)}`)
}
