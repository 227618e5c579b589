// Side by side: terge, the floor under it, and any peers. `npm run bench -- --help` tells the flags, README.md the meaning.
import { Buffer } from 'node:buffer'
import { spawnSync } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readSync, rmSync, statSync, writeFileSync } from 'node:fs'
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
const QUICKSTART = path.join(here, '../recipes/quickstart/average.yml')

const HELP = `npm run bench -- [--size 1GiB] [--models 2] [--threads N] [--rounds 5] [--sync] [--no-digests]
  [--method linear | --recipe FILE] [--one-tensor] [--native] [--cold] [--peer 'COMMAND {a} {b} {out}']... [--work DIR] [--keep]

  --size        bytes of each model made (BF16)         --one-tensor  each a single tensor in a sparse file
  --sync        flush to the disk, the floor too        --recipe      measure this recipe with its own models
  --native      also a C program that does the same work as linear on two models
  --cold        drop the inputs from the page cache before each command
  --peer        another tool: {a}, {b}, … the inputs, {out} a path to write
  --work        where models and outputs go (default: bench/.work; removed at the end unless --keep is given)`

const { values: flags } = parseArgs({
  options: {
    size: { type: 'string', default: '1GiB' },
    models: { type: 'string', default: '2' },
    threads: { type: 'string', default: String(availableParallelism()) },
    rounds: { type: 'string', default: '5' },
    sync: { type: 'boolean', default: false },
    'no-digests': { type: 'boolean', default: false },
    method: { type: 'string', default: 'linear' },
    recipe: { type: 'string' },
    'one-tensor': { type: 'boolean', default: false },
    native: { type: 'boolean', default: false },
    cold: { type: 'boolean', default: false },
    peer: { type: 'string', multiple: true, default: [] },
    work: { type: 'string', default: path.join(here, '.work') },
    keep: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

if (flags.help) console.log(HELP)
else await inWorkFolder(path.resolve(flags.work), flags.keep, bench)

async function bench(work) {
  const [{ plan }, { lookupMethod }, { formatSize, parseSize }] = await Promise.all(
    ['index', 'methods/registry', 'core/sizes'].map((name) => import(`../dist/src/${name}.js`)),
  )
  const timed = compile('timed', work)
  const floor = compile('floor', work)
  const native = flags.native || flags.cold ? compile('native', work, ['-O3', '-march=native']) : undefined
  // The same for vectors of 128 bits, which are what WebAssembly has.
  const narrow =
    flags.native && process.arch === 'x64' ? compile('native', work, ['-O3', '-msse4.1'], 'native128') : undefined
  const out = path.join(work, 'out')
  const threads = Number(flags.threads)

  let recipe = flags.recipe
  if (recipe === undefined) {
    const method = lookupMethod(flags.method)
    if (!method) throw new Error(`there is no method ${flags.method}`)
    const count = participants(method, Number(flags.models)) + (apart(method) ? 1 : 0)
    const files = makeModels(work, count, parseSize(flags.size), flags['one-tensor'])
    recipe = path.join(work, 'bench.yml')
    writeFileSync(recipe, recipeText(method, files, path.join(out, 'terge.safetensors')))
  }
  const single = path.join(out, 'terge.safetensors')
  const planned = await plan(recipe, flags.recipe === undefined ? {} : { output: single })
  const inputs = planned.bindings.files
  const written = planned.plan.outputs.flatMap(({ files }) => files).reduce((sum, { size }) => sum + size, 0)
  const read = inputs.reduce((sum, file) => sum + statSync(file).size, 0)

  const terge = [process.execPath, BIN, 'run', recipe, '--threads', String(threads), '-o', single]
  if (!flags.sync) terge.push('--no-sync')
  if (flags['no-digests']) terge.push('--no-digests')
  // The C program makes no SHA-256.
  else if (flags.native) terge.push('--digests', 'fast')
  const commands = [
    ['floor', [floor, String(threads), flags.sync ? '1' : '0', String(written), path.join(out, 'floor'), ...inputs]],
    ...(flags.native ? [['native', nativeCommand(native, threads, path.join(out, 'native'), inputs)]] : []),
    ...(narrow ? [['native, 128 bits', nativeCommand(narrow, threads, path.join(out, 'native128'), inputs)]] : []),
    ['terge', terge],
    ...flags.peer.map((words, n) => [
      `peer ${n + 1}`,
      ['sh', '-c', `exec ${peerCommand(words, inputs, path.join(out, `peer${n}`))}`],
    ]),
  ]

  const what = flags.recipe ?? flags.method
  console.log(
    `${what}: ${inputs.length} files, ${formatSize(read)} to read, ${formatSize(written)} to write, ${threads} threads, ` +
      `${flags.sync ? 'synced' : 'not synced'}, ${flags['no-digests'] ? 'no digests' : flags.native ? 'fast digests' : 'digests'}, ${flags.cold ? 'cold' : 'warm'}; load ${loadavg()[0].toFixed(1)}`,
  )
  if (flags.native) await checkNative(native, work, inputs)
  if (narrow) await checkNative(narrow, work, inputs)
  if (!flags.cold) warm(inputs)
  const results = new Map(commands.map(([name]) => [name, []]))
  // In turn, so that the machine's moods fall on all alike. The round before the counted ones samples memory, which costs time.
  for (let round = 0; round <= Number(flags.rounds); round++)
    for (const [name, command] of commands) {
      rmSync(out, { recursive: true, force: true })
      mkdirSync(out)
      if (flags.cold) execute([native, 'evict', ...inputs])
      results.get(name).push(await measure(timed, command, { cwd: work, memory: round === 0 }))
    }
  rmSync(out, { recursive: true, force: true })

  // A ratio a round, then the median of those: neighbours in time are compared.
  const floors = results.get('floor')
  const natives = results.get('native')
  const rows = [...results].map(([name, [memory, ...rounds]]) => {
    const walls = rounds.map(({ wall }) => wall)
    const ratios = rounds.map(({ wall }, round) => wall / floors[round + 1].wall)
    return [
      name,
      median(walls).toFixed(2),
      `${Math.min(...walls).toFixed(2)}–${Math.max(...walls).toFixed(2)}`,
      median(ratios).toFixed(2),
      ...(natives ? ['wall', 'user'].map((of) => nativeRatio(rounds, natives, of)) : []),
      median(rounds.map(({ user }) => user)).toFixed(2),
      median(rounds.map(({ cpu }) => cpu)).toFixed(2),
      formatSize(memory.anonymous),
      formatSize(memory.rollup),
    ]
  })
  const ofNative = natives ? ['× native', '× its user s'] : []
  const columns = [
    '',
    'seconds',
    'from–to',
    '× floor',
    ...ofNative,
    'user s',
    'CPU s',
    'peak RssAnon',
    'peak Anonymous',
  ]
  console.log(table([columns, ...rows]))
  console.log(`load ${loadavg()[0].toFixed(1)}`)
  await startUp(timed)
}

/** The median of the ratios within rounds; the first round of `natives` is not counted. */
function nativeRatio(rounds, natives, of) {
  return median(rounds.map((result, round) => result[of] / natives[round + 1][of])).toFixed(2)
}

function nativeCommand(native, threads, out, inputs) {
  if (flags.recipe !== undefined || flags.method !== 'linear' || inputs.length !== 2)
    throw new Error('--native compares linear merges of two models')
  return [native, String(threads), out, ...inputs]
}

function execute([program, ...words]) {
  const { status, stdout, stderr } = spawnSync(program, words, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${program} ${words.join(' ')}: ${stderr}`)
  return stdout
}

/** The C program must compute the digests that terge does: otherwise it does not do the same work. */
async function checkNative(native, work, [model]) {
  const { smallKernels } = await import('../dist/src/kernels/index.js')
  const { hash } = await smallKernels()
  const start = new Uint8Array(2 ** 18)
  const handle = openSync(model, 'r')
  readSync(handle, start)
  closeSync(handle)
  const sample = path.join(work, 'sample')
  writeFileSync(sample, start)
  const digest = execute([native, '1', path.join(work, 'sample-out'), sample, sample]).trim()
  const expected = Buffer.from(hash(start)).toString('hex')
  if (digest !== expected) throw new Error(`native.c computes the digest ${digest}, and terge ${expected}`)
}

function peerCommand(words, inputs, out) {
  const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`
  return words.replace(/\{(out|[a-z])\}/g, (_, name) => {
    const file = name === 'out' ? out : inputs[name.charCodeAt(0) - 97]
    if (file === undefined) throw new Error(`--peer: there is no input {${name}}`)
    return quoted(file)
  })
}

/** Median seconds of commands that do next to nothing. */
async function startUp(timed) {
  for (const words of [['--version'], ['validate', QUICKSTART]]) {
    const walls = []
    for (let n = 0; n < 9; n++) walls.push((await measure(timed, [process.execPath, BIN, ...words])).wall)
    console.log(`terge ${words.map((word) => path.basename(word)).join(' ')}: ${median(walls).toFixed(3)} s`)
  }
}
