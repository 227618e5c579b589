// Matching beside a plain version of it in numpy and scipy, assignments beside scipy's, and the rate of products. README.md tells more.
import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism, loadavg } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { median, table } from './measure.mjs'
import { similarNetworks } from './networks.mjs'
import { inWorkFolder } from './work.mjs'

const here = path.dirname(fileURLToPath(import.meta.url))
const BIN = path.join(here, '../bin/run.js')
const SCRIPT = path.join(here, 'matching.py')

const HELP = `node bench/matching.mjs [--models A B] [--width 1024] [--assign 4096] [--threads N] [--rounds 3] [--gemm FILE]

  --models   two multilayer perceptrons (safetensors, F32 or BF16); default: made here, of this width
  --assign   size of the random costs; 0 leaves assignments out
  --gemm     a WebAssembly product to set ours beside: exports gemm(a, b, c, m, n, k) of packed float32 matrices, imports env.memory`

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    models: { type: 'boolean', default: false },
    width: { type: 'string', default: '1024' },
    assign: { type: 'string', default: '4096' },
    threads: { type: 'string', default: String(availableParallelism()) },
    rounds: { type: 'string', default: '3' },
    gemm: { type: 'string' },
    work: { type: 'string', default: path.join(here, '.work') },
    help: { type: 'boolean', default: false },
  },
})
const threads = Number(flags.threads)
const rounds = Number(flags.rounds)

if (flags.help) console.log(HELP)
else
  await inWorkFolder(path.resolve(flags.work), false, async (work) => {
    const missing = whatIsMissing()
    if (missing) console.log(`${missing}: terge alone`)
    console.log(`${threads} threads, ${rounds} rounds; load ${loadavg()[0].toFixed(1)}`)
    await matching(work, !missing)
    if (flags.assign !== '0') await assignment(Number(flags.assign), !missing)
    await products()
    console.log(`load ${loadavg()[0].toFixed(1)}`)
  })

function whatIsMissing() {
  const { status, error } = spawnSync('python3', ['-c', 'import numpy, scipy.optimize'])
  if (error) return 'no python3 here'
  return status === 0 ? undefined : 'no numpy and scipy here'
}

/** What the script prints, as JSON; one thread of BLAS where told. */
function python(words, blas) {
  const env = { ...process.env, OMP_NUM_THREADS: String(blas), OPENBLAS_NUM_THREADS: String(blas) }
  const { status, stdout, stderr } = spawnSync('python3', [SCRIPT, ...words], { encoding: 'utf8', env })
  if (status !== 0) throw new Error(`matching.py ${words[0]}: ${stderr.slice(-2000)}`)
  return JSON.parse(stdout)
}

/** The whole command against the plain loops, in turn; ratios within a round. */
async function matching(work, peers) {
  let files = positionals.map((file) => path.resolve(file))
  if (flags.models && files.length !== 2) throw new Error('--models takes two files')
  if (!flags.models) files = similarNetworks(work, Number(flags.width))
  const out = path.join(work, 'aligned.safetensors')
  const recipe = path.join(work, 'matching.yml')
  writeFileSync(
    recipe,
    `terge: 1\nmodels: {a: ${JSON.stringify(files[0])}, b: ${JSON.stringify(files[1])}}\nsteps: {aligned: {rebasin: {model: b, onto: a, spec: chain}}}\noutput: ${JSON.stringify(out)}\n`,
  )
  const terge = (count) => () => {
    const start = performance.now()
    const words = [BIN, 'run', recipe, '--force', '--no-sync', '--memory', '2GB', '--threads', String(count)]
    const { status, stderr } = spawnSync(process.execPath, words, { encoding: 'utf8' })
    if (status !== 0) throw new Error(stderr)
    const seconds = (performance.now() - start) / 1000
    const { steps } = JSON.parse(readFileSync(out.replace(/safetensors$/, 'lineage.json'), 'utf8'))
    return { seconds, sweeps: steps.aligned.iterations, similarity: steps.aligned.similarity.after }
  }
  const columns = [
    [`terge, ${threads} threads`, terge(threads)],
    ['terge, 1 thread', terge(1)],
    ...(peers
      ? [
          ['numpy + scipy, 1 thread', () => python(['mlp', ...files], 1)],
          [`numpy + scipy, ${threads} threads`, () => python(['mlp', ...files], threads)],
        ]
      : []),
  ]
  const results = inTurns(columns)
  const first = results[0]
  console.log(
    table([
      ['matching', 'seconds', '× terge', 'sweeps', 'similarity'],
      ...results.map((rows, n) => [
        columns[n][0],
        median(rows.map(({ seconds }) => seconds)).toFixed(2),
        median(rows.map(({ seconds }, round) => seconds / first[round].seconds)).toFixed(2),
        String(rows[0].sweeps),
        rows[0].similarity.toFixed(5),
      ]),
    ]),
  )
}

/** Every column once a round. */
function inTurns(columns) {
  const results = columns.map(() => [])
  for (let round = 0; round < rounds; round++)
    for (const [n, [, work]] of columns.entries()) results[n].push(work(round))
  return results
}

/** Uniform costs of a seed. */
function randomCosts(n, seed) {
  const costs = new Float32Array(n * n)
  let state = seed
  for (let i = 0; i < costs.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0
    costs[i] = (state >>> 8) / 2 ** 24
  }
  return costs
}

async function assignment(n, peers) {
  const { createLinalg } = await import('../dist/src/kernels/linalg.js')
  const linalg = createLinalg()
  const ours = (round) => {
    const costs = randomCosts(n, round + 1)
    const start = performance.now()
    linalg.assign(costs, n)
    return (performance.now() - start) / 1000
  }
  const columns = [
    ['terge', ours],
    ...(peers ? [['scipy', (round) => python(['assign', String(n), '--seed', String(round)], 1).seconds]] : []),
  ]
  const results = inTurns(columns)
  console.log(
    table([
      [`assignment of ${n}, random costs, 1 thread`, 'seconds', '× terge'],
      ...results.map((seconds, n) => [
        columns[n][0],
        median(seconds).toFixed(2),
        median(seconds.map((one, round) => one / results[0][round])).toFixed(2),
      ]),
    ]),
  )
}

/** Billions of multiplications and additions a second: on all threads, on one, and of a product that is told. */
async function products() {
  const [{ byRows, productInto }, { createPool, sharedFloats }] = await Promise.all(
    ['kernels/linalg', 'rebasin/pool'].map((name) => import(`../dist/src/${name}.js`)),
  )
  const n = 2048
  const random = randomCosts(n, 1)
  const [x, y, c] = [sharedFloats(n * n), sharedFloats(n * n), sharedFloats(n * n)]
  x.set(random)
  y.set(random)
  const rate = async (work, operations) => {
    const start = performance.now()
    await work()
    return operations / (performance.now() - start) / 1e6
  }
  const pools = [threads, 1].map((count) => ({ count, pool: createPool(count) }))
  const other = flags.gemm && (await foreignProduct(flags.gemm))
  const columns = pools.map(({ count, pool }) => [
    `terge, ${count} thread${count === 1 ? '' : 's'}, ${n} × ${n} × ${n}`,
    () => rate(() => pool.addProduct(productInto(c, byRows(x, n, n), byRows(y, n, n))), 2 * n ** 3),
  ])
  if (other)
    columns.push([`${path.basename(flags.gemm)}, 1 thread, ${other.name}`, () => rate(other.run, other.operations)])
  // Workers start, code is compiled.
  for (const [, work] of columns) await work()
  const results = columns.map(() => [])
  for (let round = 0; round < 5 * rounds; round++)
    for (const [k, [, work]] of columns.entries()) results[k].push(await work())
  const last = results.at(-1)
  console.log(
    table([
      ['float32 products', 'GFLOP/s', `× ${other ? path.basename(flags.gemm) : '1 thread'}`],
      ...results.map((rates, k) => [
        columns[k][0],
        median(rates).toFixed(1),
        median(rates.map((one, round) => one / last[round])).toFixed(2),
      ]),
    ]),
  )
  for (const { pool } of pools) await pool.close()
}

async function foreignProduct(file) {
  const memory = new WebAssembly.Memory({ initial: 4096, maximum: 65536 })
  const { instance } = await WebAssembly.instantiate(readFileSync(file), { env: { memory } })
  const [m, n, k] = [512, 1024, 256]
  const [a, b, c] = [1 << 20, (1 << 20) + (32 << 20), (1 << 20) + (64 << 20)]
  new Float32Array(memory.buffer, a, (64 << 20) / 4).set(randomCosts(4096, 1))
  const times = 16
  return {
    name: `${m} × ${n} × ${k}`,
    operations: 2 * m * n * k * times,
    run: async () => {
      for (let time = 0; time < times; time++) instance.exports.gemm(a, b, c, m, n, k)
    },
  }
}
