/** The `check` key: a command that compares a model before and after its alignment. */
import { type Cursor, get, has, numberOf, textOf } from '../../language/cursor.js'
import { commandKeys, readEvaluate } from '../../language/evaluate.js'
import type { Report } from '../../language/report.js'
import { object, type Schema, several, word } from '../../language/schemaParts.js'
import type { RebasinStep } from './types.js'

/** Sums in another order differ by much less, also in models of 16-bit numbers. */
const TOLERANCE = 0.001

export function readCheck(at: Cursor | undefined, root: Cursor, report: Report): RebasinStep['check'] | undefined {
  if (!at) return undefined
  const tolerance = numberOf(get(at, 'tolerance')) ?? TOLERANCE
  if (has(at, 'command')) return { evaluate: readEvaluate(at)!, tolerance }
  for (const key of ['env', 'timeout'])
    if (has(at, key))
      report.error('contradiction', `check has ${key} but no command`, [...at.path, key], {
        part: 'key',
        hint: 'write command: […] in check, or remove this key',
      })
  const evaluate = readEvaluate(get(root, 'evaluate'))
  if (evaluate) return { evaluate, tolerance }
  report.error('missing-key', 'check has no command, and the recipe has no evaluate', at.path, {
    part: textOf(at) === undefined ? 'key' : 'value',
    hint: 'write check: {command: [python, check.py, "{model}"]}',
  })
  return undefined
}

export const checkSchema: Schema = several(
  'evaluate, or a mapping such as {command: [python, check.py, "{model}"]}',
  'A command that must print the same metrics for the model before and after the alignment.',
  word(
    { evaluate: 'The evaluate command of the recipe.' },
    { type: 'string', description: 'The evaluate command of the recipe.' },
  ),
  object(
    {
      ...commandKeys,
      tolerance: {
        ...{ type: 'number', minimum: 0, maximum: 1 },
        description: 'The largest difference of a metric, as a share of its value. Default: 0.001.',
      },
    },
    [],
    'The command, by default evaluate of the recipe, and the largest difference. Requires --allow-commands.',
  ),
)
