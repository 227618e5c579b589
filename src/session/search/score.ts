import { quote } from '../../core/suggest.js'
import type { Goal } from '../../recipe/search/types.js'

/** The score of metrics: greater is better. A text says why there is none. */
export function scoreOf(objective: readonly Goal[], metrics: Readonly<Record<string, number>>): number | string {
  let score = 0
  for (const { metric, direction, weight } of objective) {
    if (!Object.hasOwn(metrics, metric)) {
      const names = Object.keys(metrics)
      const printed = names.length === 0 ? 'nothing' : names.slice(0, 8).map(quote).join(', ')
      return `the command did not print the metric ${quote(metric)}, but ${printed}`
    }
    score += (direction === 'maximize' ? weight : -weight) * metrics[metric]!
  }
  return Number.isFinite(score) ? score : 'the score is not a finite number'
}
