/** Reads the `search` of a recipe. */
import { isDeepStrictEqual } from 'node:util'
import { quote } from '../../core/suggest.js'
import {
  booleanOf,
  type Cursor,
  entriesOf,
  get,
  has,
  isMapping,
  itemsOf,
  numberOf,
  oneOrMore,
  textOf,
} from '../../language/cursor.js'
import { readEvaluate } from '../../language/evaluate.js'
import type { Report } from '../../language/report.js'
import type { Node } from '../../language/tree.js'
import { findValue } from './paths.js'
import { MOST_DIMENSIONS } from './schema.js'
import type { Goal, Range, Search, SearchMethod, SearchValue } from './types.js'

const METHODS: readonly SearchMethod[] = ['grid', 'random', 'cma-es', 'tpe']

/** Undefined if the recipe has none, or after errors. */
export function readSearch(root: Cursor, report: Report): Search | undefined {
  const at = get(root, 'search')
  if (!isMapping(at)) return undefined
  const dimensions = readDimensions(root.node, get(at, 'parameters'), report)
  const objective = readObjective(get(at, 'objective'), report)
  const method = METHODS.find((one) => one === textOf(get(at, 'method')))
  const evaluate = readEvaluate(get(at, 'evaluate'))
  const trials = numberOf(get(at, 'trials'))
  const patience = numberOf(get(at, 'patience'))
  const top = readEvaluate(get(root, 'evaluate'))
  if (evaluate && top && !isDeepStrictEqual({ ...evaluate, at: 0 }, { ...top, at: 0 }))
    report.error('contradiction', 'the recipe has two commands that evaluate', evaluate.at, {
      part: 'key',
      hint: 'remove it here, or at the top of the recipe',
    })
  if (!evaluate && !has(root, 'evaluate'))
    report.error('missing-key', 'the search needs a command that evaluates the checkpoints', at.path, {
      part: 'key',
      hint: 'add evaluate: {command: [python, evaluate.py, "{model}"]}',
    })
  if (method !== undefined && method !== 'grid' && trials === undefined && !has(at, 'trials'))
    report.error('missing-key', `'search' needs the key 'trials'`, at.path, {
      part: 'key',
      hint: 'write how many checkpoints to make, such as trials: 60',
    })
  if (method === undefined || dimensions.length === 0 || objective.length === 0) return undefined
  return {
    ...{ dimensions, objective, method, at: at.path },
    seed: numberOf(get(at, 'seed')) ?? 0,
    parallel: numberOf(get(at, 'parallel')) ?? 1,
    ...(trials === undefined ? {} : { trials }),
    ...(patience === undefined ? {} : { patience }),
    ...(evaluate ? { evaluate } : {}),
  }
}

function readDimensions(root: Node, at: Cursor | undefined, report: Report): Search['dimensions'] {
  const entries = entriesOf(at)
  if (entries.length > MOST_DIMENSIONS) {
    report.error(
      'too-large',
      `a search can have at most ${MOST_DIMENSIONS} parameters, not ${entries.length}`,
      at!.path,
      {
        part: 'key',
        hint: 'vary fewer parameters',
      },
    )
    return []
  }
  const seen = new Map<string, string>()
  return entries.flatMap(([key, item]) => {
    const found = findValue(root, key, item.path, report)
    const range = item.node.kind === 'list' ? readValues(item, report) : readRange(item, report)
    if (!found || !range) return []
    const same = JSON.stringify(found.to)
    const before = seen.get(same)
    seen.set(same, key)
    if (before !== undefined) {
      const message = `${quote(key)} and ${quote(before)} are the same value`
      report.error('contradiction', message, item.path, { part: 'key', hint: 'remove one of them' })
      return []
    }
    const { node, to } = found
    if (range.kind !== 'choice' && typeof node.value !== 'number') {
      const message = `the recipe's value at ${quote(key)} is not a number`
      report.error('bad-value', message, item.path, { part: 'key', hint: 'write a list of values in place of a range' })
      return []
    }
    if (node.value === null) {
      report.error('bad-value', `the recipe's value at ${quote(key)} is empty`, item.path, {
        part: 'key',
        hint: 'write its normal value there: terge run uses it',
      })
      return []
    }
    return [{ path: key, range, to, own: node.value, at: item.path }]
  })
}

function readValues(at: Cursor, report: Report): Range | undefined {
  const items = itemsOf(at)
  const values: SearchValue[] = []
  for (const item of items) {
    const value = item.node.kind === 'scalar' ? item.node.value : null
    if (value === null || (typeof value === 'number' && !Number.isFinite(value))) {
      if (typeof value === 'number') report.error('bad-value', 'a value must be a finite number', item.path)
      return undefined
    }
    if (values.includes(value)) {
      report.error('bad-value', `the value ${quote(String(value))} is in the list twice`, item.path, {
        hint: 'remove one of them',
      })
      return undefined
    }
    values.push(value)
  }
  return values.length > 0 ? { kind: 'choice', values } : undefined
}

function readRange(at: Cursor, report: Report): Range | undefined {
  const place = get(at, 'range')
  const [low, high] = itemsOf(place).map(numberOf)
  if (!place || itemsOf(place).length !== 2) return undefined
  const refuse = (message: string, path = place.path, hint?: string): undefined => {
    report.error('bad-value', message, path, { hint })
    return undefined
  }
  // The schema has reported what is not a finite number.
  if (low === undefined || high === undefined) return undefined
  if (low >= high)
    return refuse(`the range from ${low} to ${high} is empty`, place.path, 'write [low, high], with low below high')
  const [log, integer] = [booleanOf(get(at, 'log')) ?? false, booleanOf(get(at, 'integer')) ?? false]
  const [step, points] = [numberOf(get(at, 'step')), numberOf(get(at, 'points'))]
  const pathOf = (key: string) => get(at, key)!.path
  if (log && low <= 0)
    return refuse(
      `with log, low must be above 0, not ${low}`,
      place.path,
      'write a small number such as 0.001, or remove log',
    )
  if (log && step !== undefined)
    return refuse('a range cannot have both log and step', pathOf('step'), 'remove one of them')
  if (points !== undefined && step !== undefined)
    return refuse('a range cannot have both points and step', pathOf('points'), 'remove one of them')
  if (step !== undefined && !(step > 0 && step <= high - low))
    return refuse(`step must be above 0 and at most ${high - low}, not ${step}`, pathOf('step'))
  if (integer && !(Number.isSafeInteger(low) && Number.isSafeInteger(high)))
    return refuse('with integer, both ends of the range must be integers')
  if (integer && step !== undefined && !Number.isInteger(step))
    return refuse(`with integer, step must be an integer, not ${step}`, pathOf('step'))
  if (points === 1)
    return refuse(
      'points must be at least 2',
      pathOf('points'),
      'to keep one value, remove the parameter from the search',
    )
  return {
    ...{ kind: integer ? 'integer' : 'real', low, high, log },
    ...(step === undefined ? {} : { step }),
    ...(points === undefined ? {} : { points }),
  }
}

function readObjective(at: Cursor | undefined, report: Report): Goal[] {
  const seen = new Set<string>()
  return oneOrMore(at).flatMap((goal) => {
    if (!isMapping(goal)) return []
    const [most, least] = [get(goal, 'maximize'), get(goal, 'minimize')]
    const refuse = (message: string, path = goal.path, hint?: string): Goal[] => {
      report.error('contradiction', message, path, { part: 'key', hint })
      return []
    }
    if (most && least)
      return refuse(
        'a metric cannot be maximized and minimized at once',
        least.path,
        'write a list with one mapping per metric',
      )
    const metric = textOf(most ?? least)
    if (!most && !least) {
      report.error('missing-key', "'objective' needs the key 'maximize' or 'minimize'", goal.path, {
        part: 'key',
        hint: 'write objective: {maximize: accuracy}, with a metric that the command prints',
      })
      return []
    }
    if (metric === undefined || metric.trim() === '') return []
    if (seen.has(metric))
      return refuse(`the metric ${quote(metric)} is listed twice`, (most ?? least)!.path, 'remove one of them')
    seen.add(metric)
    const weight = has(goal, 'weight') ? numberOf(get(goal, 'weight')) : 1
    if (weight === undefined || weight <= 0) {
      report.error('bad-value', 'weight must be a finite number above 0', get(goal, 'weight')!.path, {
        hint: 'to make a metric smaller, write minimize',
      })
      return []
    }
    return [{ metric, direction: most ? 'maximize' : 'minimize', weight }]
  })
}
