// How good searches are: 60 trials of each method, from five seeds, against a grid of 400 points, on merges of small language models.
// node bench/search/study.mjs [--python python3] [--passages FILE.safetensors] [--objective accuracy|loss] [--methods grid,cma-es,tpe,random] [--merge ties|dare_ties] [--count 64] [--seeds 5] [--trials 60] [--work DIR]
// Python needs torch, transformers and safetensors. Without --passages, the texts are this project's own documents and programs.
// Passages: so many of each kind of text. Metrics of merges are kept in DIR: another objective, or more seeds, make only what is missing.
import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { measured } from './merges.mjs'
import { ownPassages, passagesOf } from './passages.mjs'

const here = path.dirname(fileURLToPath(import.meta.url))
const root = path.join(here, '../..')
const { values: flags } = parseArgs({
  options: {
    python: { type: 'string', default: 'python3' },
    passages: { type: 'string' },
    objective: { type: 'string', default: 'accuracy' },
    methods: { type: 'string', default: 'grid,cma-es,tpe,random' },
    count: { type: 'string', default: '64' },
    merge: { type: 'string', default: 'ties' },
    seeds: { type: 'string', default: '5' },
    trials: { type: 'string', default: '60' },
    work: { type: 'string', default: path.join(here, '../.work/search') },
  },
})
const [trials, seeds] = [Number(flags.trials), Number(flags.seeds)]
const { SAMPLERS } = await import('../../dist/src/search/samplers/index.js')

const models = path.join(root, 'test/fixtures/lm-f32')
/** Task vectors trimmed to their largest elements, or thinned at random, and added where they agree in sign. */
const step = ([python, c, density], index) =>
  `  t${index}: {merge: {method: ${flags.merge}, base: base, models: [python, c], weights: {python: ${python}, c: ${c}}, parameters: {density: ${density}, normalize: false}}}`
const recipe = (points) => `terge: 1
models: {base: ${models}/base, python: ${models}/python, c: ${models}/c}
base: base
steps:
${points.map(step).join('\n')}
outputs: [${points.map((_, index) => `{path: out/t${index}, from: t${index}}`).join(', ')}]
`
const real = (name, low, high, points) => ({
  path: `merge.${name}`,
  range: { kind: 'real', low, high, log: false, points },
})
/** 10 × 10 × 4 points on a grid. */
const SPACE = [real('weights.python', 0, 1, 10), real('weights.c', 0, 1, 10), real('parameters.density', 0.1, 1, 4)]
const KINDS = ['prose', 'python', 'c']

const work = path.resolve(flags.work)
mkdirSync(work, { recursive: true })
const passages = flags.passages
  ? passagesOf(flags.passages, Number(flags.count))
  : ownPassages(root, Number(flags.count))
const { measure, evaluate, end } = await measured({ recipe, passages, python: flags.python, work })

/** Greater is better: the mean over the three kinds of text. */
function scoreOf(metrics) {
  const mean = KINDS.reduce((sum, kind) => sum + metrics[`${flags.objective}_${kind}`], 0) / KINDS.length
  return flags.objective === 'loss' ? -mean : mean
}

async function search(method, settings) {
  const found = []
  for (let batch = 0; found.length < settings.trials; batch++) {
    const points = SAMPLERS[method].propose(SPACE, settings, batch, found)
    if (points.length === 0) break
    const first = found.length
    for (const [i, values] of (await measure(points)).entries())
      found.push({
        ...{ index: first + i, batch, point: points[i], state: 'done', values, seconds: 0 },
        score: scoreOf(values),
      })
  }
  return found.reduce((best, one) => (one.score > best.score ? one : best))
}

const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b)
  return (sorted[Math.floor((sorted.length - 1) / 2)] + sorted[Math.ceil((sorted.length - 1) / 2)]) / 2
}
const show = (value) => value.toFixed(4)

const parents = []
for (const name of ['base', 'python', 'c']) parents.push([name, show(scoreOf(await evaluate(path.join(models, name))))])
console.log(`score: ${flags.objective === 'loss' ? 'minus the ' : ''}mean ${flags.objective} over ${KINDS.join(', ')}`)
console.log(`models: ${parents.map((one) => one.join(' ')).join(', ')}`)
const methods = flags.methods.split(',')
const grid = methods.includes('grid') ? await search('grid', { seed: 0, trials: 400 }) : undefined
if (grid) console.log(`grid of 400 points: ${show(grid.score)} at ${grid.point.join(', ')}`)
const results = { objective: flags.objective, parents: Object.fromEntries(parents), grid, methods: {} }
for (const method of methods.filter((one) => one !== 'grid')) {
  const bests = []
  for (let seed = 0; seed < seeds; seed++) bests.push(await search(method, { seed, trials }))
  const scores = bests.map((one) => one.score)
  results.methods[method] = { bests, median: median(scores) }
  const far = grid ? grid.score - median(scores) : 0
  const beside = grid ? `, ${show(Math.abs(far))} ${far > 0 ? 'below' : 'above'} the grid` : ''
  console.log(`${method}, ${trials} trials: ${scores.map(show).join(' ')}; median ${show(median(scores))}${beside}`)
}
writeFileSync(path.join(work, `${flags.objective}.json`), `${JSON.stringify(results, undefined, 1)}\n`)
end()
