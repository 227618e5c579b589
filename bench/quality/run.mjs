// Measures every merge method on small models, and writes results.json: npm run build; node bench/quality/run.mjs
// [--only METHOD]... [--set SET]... [--sets FOLDER] [--out FILE]. About 15 minutes on one core. Afterwards: npm run readme.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { accuracy, readTensors, statistics, writeTensors } from './network.mjs'
import { openSet, SEEDS, TASKS } from './sets.mjs'
import { SCALES, wayOf } from './ways.mjs'

const here = path.dirname(fileURLToPath(import.meta.url))
const { values: flags } = parseArgs({
  options: {
    only: { type: 'string', multiple: true },
    set: { type: 'string', multiple: true },
    sets: { type: 'string', default: path.join(here, 'sets') },
    out: { type: 'string', default: path.join(here, 'results.json') },
  },
})
const { listMethods, plan, run } = await import('../../dist/src/index.js')
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length
const work = mkdtempSync(path.join(os.tmpdir(), 'terge-quality-'))
let runs = 0

/** Merges and returns the tensors of the result. */
async function merged(group, method, way, kinds, { parameters = {}, weights } = {}) {
  const { set, seed, stats } = group
  const entry = (kind) =>
    way.statistics
      ? { path: set.file(seed, kind), statistics: stats(kind, way.statistics) }
      : { path: set.file(seed, kind) }
  const isListed = method.base === 'listed'
  const needsBase = method.base === 'required'
  const all = needsBase ? ['base', ...kinds] : kinds
  const output = path.join(work, `${runs++}.safetensors`)
  const settings = { ...way.settings.parameters, ...parameters }
  const recipe = {
    terge: 1,
    models: Object.fromEntries(all.map((kind) => [kind, entry(kind)])),
    ...(needsBase || isListed ? { base: isListed ? kinds[0] : 'base' } : {}),
    merge: {
      method: method.name,
      models: kinds,
      ...(weights ? { weights } : {}),
      ...(Object.keys(settings).length > 0 ? { parameters: settings } : {}),
    },
    output: { path: output, dtype: 'float32' },
  }
  await run(await plan(recipe), { threads: 1, sync: false, digests: 'none' })
  const tensors = readTensors(output)
  rmSync(output)
  rmSync(output.replace('.safetensors', '.lineage.json'))
  return tensors
}

/** The mean accuracy over the tasks of the merged models. */
const measure = ({ set }, tensors, kinds, part) =>
  mean(kinds.map((task) => accuracy(set.layers, tensors, set.tasks[task][part])))

/** b + s (m − b), as `lines: {alpha: s, beta: 0}` does it. */
const scaled = (base, result, scale) =>
  Object.fromEntries(
    Object.entries(result).map(([name, { shape, values }]) => [
      name,
      { shape, values: values.map((value, i) => base[name].values[i] + scale * (value - base[name].values[i])) },
    ]),
  )

/** Both results of one method on the fine-tunes `kinds`: with defaults, and with the number that is best on the validation part. */
async function both(group, method, way, kinds) {
  const plain = await merged(group, method, way, kinds)
  const untuned = measure(group, plain, kinds, 'test')
  let best = { value: measure(group, plain, kinds, 'val'), trial: undefined }
  const consider = (tensors, trial) => {
    const value = measure(group, tensors, kinds, 'val')
    if (value > best.value) best = { value, trial }
  }
  if (way.scaled)
    for (const scale of SCALES)
      consider(scaled(group.base, plain, scale), { parameters: { lines: { alpha: scale, beta: 0 } } })
  for (const trial of way.trials) consider(await merged(group, method, way, kinds, trial), trial)
  if (!way.scaled && way.trials.length === 0) return { untuned }
  // What counts is what terge makes with this number.
  const tuned = best.trial
    ? measure(group, await merged(group, method, way, kinds, best.trial), kinds, 'test')
    : untuned
  return { untuned, tuned, ...(best.trial ? { trial: best.trial } : {}) }
}

const PAIRS = (tasks) => tasks.flatMap((a, i) => tasks.slice(i + 1).map((b) => [a, b]))
const groupsOf = (way, tasks) =>
  way.of === 'all' ? [tasks] : way.of === 'pairs' ? PAIRS(tasks) : tasks.map((one) => [one])

async function measured(group, method, way, tasks) {
  const found = []
  for (const kinds of groupsOf(way, tasks)) {
    // A model alone is measured on all tasks.
    if (way.of === 'each')
      found.push({ untuned: measure(group, await merged(group, method, way, kinds), tasks, 'test') })
    else found.push(await both(group, method, way, kinds))
  }
  const trials = found.flatMap(({ trial }) => (trial ? [trial] : []))
  return {
    defaults: mean(found.map(({ untuned }) => untuned)),
    ...(found[0].tuned === undefined ? {} : { tuned: mean(found.map(({ tuned }) => tuned)) }),
    ...(trials.length > 0 ? { trials } : {}),
  }
}

/** A seed of a set, with the files of statistics made as they are needed. */
function openGroup(set, seed) {
  const files = new Map()
  return {
    set,
    seed,
    base: readTensors(set.file(seed, 'base')),
    stats(kind, what) {
      const file = path.join(work, `${set.name}-${seed}-${kind}-${what}.safetensors`)
      if (!files.has(file)) {
        const found = statistics(set.layers, readTensors(set.file(seed, kind)), set.tasks[kind].train)
        files.set(file, writeFileSync(file, writeTensors(found[what])))
      }
      return file
    },
  }
}

const rounded = (value) => Number(value.toFixed(4))
const results = flags.only || flags.set ? JSON.parse(readFileSync(flags.out, 'utf8')) : { sets: {}, methods: {} }
try {
  for (const name of flags.set ?? Object.keys(TASKS)) {
    const set = openSet(name, path.resolve(flags.sets))
    const tasks = TASKS[name]
    const groups = SEEDS.map((seed) => openGroup(set, seed))
    const own = (kind, { set: { file }, seed }) => readTensors(file(seed, kind))
    results.sets[name] = {
      tasks,
      base: groups.map((group) => rounded(measure(group, group.base, tasks, 'test'))),
      alone: groups.map((group) => rounded(mean(tasks.map((kind) => measure(group, own(kind, group), tasks, 'test'))))),
      own: groups.map((group) => rounded(mean(tasks.map((kind) => measure(group, own(kind, group), [kind], 'test'))))),
      /** Of each pair: one of its models on both tasks, and their average. */
      one: groups.map((group) =>
        rounded(
          mean(PAIRS(tasks).flatMap((pair) => pair.map((kind) => measure(group, own(kind, group), pair, 'test')))),
        ),
      ),
      pairs: [],
    }
    const linear = listMethods().find((method) => method.name === 'linear')
    for (const group of groups) {
      const values = []
      for (const pair of PAIRS(tasks))
        values.push(measure(group, await merged(group, linear, wayOf(linear), pair), pair, 'test'))
      results.sets[name].pairs.push(rounded(mean(values)))
    }
    for (const method of listMethods()) {
      if (flags.only && !flags.only.includes(method.name)) continue
      const way = wayOf(method)
      results.methods[method.name] ??= way.reason ? { reason: way.reason } : { of: way.of, sets: {} }
      if (way.reason) continue
      const all = []
      for (const group of groups) all.push(await measured(group, method, way, tasks))
      const trials = all.flatMap(({ trials = [] }) => trials)
      const entry = {
        defaults: all.map(({ defaults }) => rounded(defaults)),
        ...(all[0].tuned === undefined ? {} : { tuned: all.map(({ tuned }) => rounded(tuned)) }),
        ...(trials.length > 0 ? { trials } : {}),
      }
      results.methods[method.name].sets[name] = entry
      writeFileSync(flags.out, `${JSON.stringify(results, null, 2)}\n`)
      console.log(
        name,
        method.name,
        ...entry.defaults,
        '|',
        ...(entry.tuned ?? []),
        JSON.stringify(trials.map((one) => one.parameters?.lines?.alpha ?? one)),
      )
    }
  }
  const order = listMethods().map(({ name }) => name)
  results.methods = Object.fromEntries(
    order.filter((name) => name in results.methods).map((name) => [name, results.methods[name]]),
  )
  writeFileSync(flags.out, `${JSON.stringify(results, null, 2)}\n`)
} finally {
  rmSync(work, { recursive: true, force: true })
}
