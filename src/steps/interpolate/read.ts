import { booleanOf, get, isMapping, itemsOf, numberOf, textOf } from '../../language/cursor.js'
import { readEvaluate } from '../../language/evaluate.js'
import type { Reading, StepDraft } from '../types.js'
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
  return {
    kind: 'interpolate',
    name,
    at: at.path,
    from: use(get(at, 'from')),
    to: use(get(at, 'to')),
    // Quotients of integers: 0.1 is then the nearest double, and both ends are exact.
    points: list ? written : Array.from({ length: Math.min(count, 10001) }, (_, i) => i / Math.max(1, count - 1)),
    method: textOf(get(at, 'method')) === 'slerp' ? 'slerp' : 'linear',
    keep: booleanOf(get(at, 'keep')) ?? true,
    ...(evaluate ? { evaluate } : {}),
  }
}
