/** The keys `restarts` and `select` of an alignment. */
import { type Cursor, get, isMapping, numberOf, textOf } from '../../../language/cursor.js'
import type { Report } from '../../../language/report.js'
import type { RebasinStep } from '../types.js'

export function readRestarts(
  at: Cursor,
  { method, symmetry }: Pick<RebasinStep, 'method' | 'symmetry'>,
  report: Report,
): Pick<RebasinStep, 'restarts' | 'select'> {
  const [restarts, select] = [get(at, 'restarts'), get(at, 'select')]
  const count = numberOf(restarts)
  if (restarts && (symmetry === 'orthogonal' || method === 'activation-matching'))
    report.error(
      'contradiction',
      `${symmetry === 'orthogonal' ? 'symmetry: orthogonal' : method} finds the same for every seed`,
      restarts.path,
      { part: 'key', hint: 'remove restarts' },
    )
  if (!select || !isMapping(select)) return count === undefined ? {} : { restarts: count }
  if (count === undefined)
    report.error('missing-key', 'select needs the number of seeds to try', select.path, {
      part: 'key',
      hint: 'write restarts: 8',
    })
  const [most, least] = [textOf(get(select, 'maximize')), textOf(get(select, 'minimize'))]
  if (most !== undefined && least !== undefined)
    report.error('contradiction', 'select can’t both maximize and minimize', select.path, { hint: 'write one of them' })
  const metric = most ?? least
  if (metric === undefined) {
    report.error('missing-key', 'select needs a metric', select.path, { hint: 'write select: {maximize: accuracy}' })
    return {}
  }
  return { restarts: count ?? 1, select: { metric, maximize: most !== undefined } }
}
