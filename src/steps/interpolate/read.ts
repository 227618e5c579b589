import { booleanOf, type Cursor, get, isMapping, itemsOf, numberOf, textOf } from '../../language/cursor.js'
import { readEvaluate } from '../../language/evaluate.js'
import type { Report } from '../../language/report.js'
import { readBatchNorm } from '../repair/read.js'
import type { Reading, StepDraft } from '../types.js'
import { innerPoints, pointNames } from './names.js'
import type { InterpolateStep } from './types.js'

export function readInterpolate({ name, at }: StepDraft, { scope, use }: Reading): InterpolateStep {
  const points = get(at, 'points')
  const list = get(at, 'at')
  if (points && list) {
    const message = 'interpolate can’t have both points and at'
    const hint = 'points spreads the values evenly, at lists them; remove one of the two'
    scope.report.error('contradiction', message, list.path, { part: 'key', hint })
  } else if (!points && !list && isMapping(at)) {
    const hint = 'write points: 11, or at: [0, 0.5, 1]'
    scope.report.error('missing-key', "interpolate needs 'points' or 'at'", at.path, { part: 'key', hint })
  }
  const count = numberOf(points) ?? 0
  const numbers = itemsOf(list).map(numberOf)
  const twice = numbers.findIndex((t, index) => t !== undefined && numbers.indexOf(t) < index)
  const written = numbers.map((t) => t ?? 0)
  if (list && twice >= 0)
    scope.report.error('bad-value', `interpolate has the point ${written[twice]} twice`, [...list.path, twice], {
      hint: 'list it once',
    })
  const evaluate = readEvaluate(get(at, 'evaluate'))
  // Quotients of integers: 0.1 is then the nearest double, and both ends are exact.
  const places = list ? written : Array.from({ length: Math.min(count, 10001) }, (_, i) => i / Math.max(1, count - 1))
  const method = textOf(get(at, 'method')) === 'slerp' ? 'slerp' : 'linear'
  const repair = readPointRepair(at, places, method, scope.report)
  return {
    kind: 'interpolate',
    name,
    at: at.path,
    from: use(get(at, 'from')),
    to: use(get(at, 'to')),
    points: places,
    method,
    keep: booleanOf(get(at, 'keep')) ?? true,
    ...(evaluate ? { evaluate } : {}),
    ...(repair ? { repair } : {}),
  }
}

function readPointRepair(
  at: Cursor,
  points: readonly number[],
  method: InterpolateStep['method'],
  report: Report,
): InterpolateStep['repair'] {
  const repair = get(at, 'repair')
  if (!repair || !isMapping(repair)) return undefined
  const inner = innerPoints(points)
  const names = pointNames(points)
  const found = readBatchNorm(
    repair,
    inner.map((index) => names[index]!),
  )
  if (found === 'correlation' && method === 'slerp')
    report.error('contradiction', 'repair by correlation needs averages, but slerp is not one', repair.path, {
      hint: 'write method: linear, or measured statistics',
    })
  if (found !== 'correlation' && new Set(found.statistics.map(({ file }) => file)).size < inner.length)
    report.error('contradiction', 'all points have the same statistics file', repair.path, {
      hint: 'measure each point, and write {point} for its name in the path: {point}-statistics.safetensors',
    })
  return found
}
