// What the merge methods do to small models: bench/quality/results.json as tables.
import { readFileSync } from 'node:fs'
import { wayOf } from '../../bench/quality/ways.mjs'
import { METHODS } from '../../dist/src/methods/registry.js'
import { table, ticks } from './markdown.mjs'

export const results = () =>
  JSON.parse(readFileSync(new URL('../../bench/quality/results.json', import.meta.url), 'utf8'))

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length
/** The sample standard deviation. */
const spread = (values) => {
  const center = mean(values)
  return Math.sqrt(values.reduce((sum, value) => sum + (value - center) ** 2, 0) / (values.length - 1))
}

const percent = (values) => `${(100 * mean(values)).toFixed(1)} ± ${(100 * spread(values)).toFixed(1)}`

/** The average that a method is compared with: of the same models. */
const averageOf = ({ methods, sets }, { of }, set) =>
  of === 'pairs' ? sets[set].pairs : methods.linear.sets[set].defaults

/** Less is no difference: half a point is seven of 1,500 answers. */
const LEAST = 0.005

/** Whether its mean over seeds is above that of the average, with defaults or tuned. */
const isAbove = (found, method, set) => {
  const { defaults, tuned = defaults } = method.sets[set]
  const average = mean(averageOf(found, method, set))
  return Math.max(mean(defaults), mean(tuned)) > average + LEAST
}

/** Methods that are on no set better than the average. */
export const neverAbove = (found = results()) =>
  Object.entries(found.methods)
    .filter(
      ([name, method]) =>
        name !== 'linear' &&
        method.of !== 'each' &&
        !Object.keys(found.sets).some((set) => isAbove(found, method, set)),
    )
    .map(([name]) => name)

function cell(found, method, set) {
  const { defaults, tuned } = method.sets[set]
  const average = mean(averageOf(found, method, set))
  const shown = (values) => (mean(values) > average + LEAST ? `**${percent(values)}**` : percent(values))
  return tuned ? `${shown(defaults)} → ${shown(tuned)}` : shown(defaults)
}

export function qualityTable() {
  const found = results()
  const sets = Object.keys(found.sets)
  const rows = (of) =>
    Object.entries(found.methods)
      .filter(([, method]) => of.includes(method.of))
      .map(([name, method]) => [ticks(name), ...sets.map((set) => cell(found, method, set))])
  const plain = (title, key) => [title, ...sets.map((set) => percent(found.sets[set][key]))]
  const reasons = METHODS.flatMap((method) => {
    const { reason } = wayOf(method)
    return reason ? [`${ticks(method.name)} (${reason})`] : []
  })
  return [
    'All three fine-tunes, accuracy in %, mean over the three tasks and ± over the seeds, defaults → tuned:',
    table(
      ['method', ...sets],
      [
        plain('each fine-tune on its own task', 'own'),
        plain('one fine-tune on all tasks', 'alone'),
        plain('base', 'base'),
        ...rows(['all']),
      ],
    ),
    'Methods for two models: the mean over the three pairs, each on its two tasks:',
    table(['method', ...sets], [plain('one of the two', 'one'), plain('`linear`', 'pairs'), ...rows(['pairs'])]),
    'A number in bold is more than half a point above the average (`linear`). `passthrough` is one fine-tune.' +
      (reasons.length > 0 ? ` Not measured: ${reasons.join(', ')}.` : ''),
  ].join('\n\n')
}
