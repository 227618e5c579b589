/** Steps whose results are not models. */
import { quote } from '../core/suggest.js'
import type { Report } from '../language/report.js'
import { kindOf } from '../steps/index.js'
import type { LinkedStep } from './steps.js'

/** Reports references to such steps. Error: `not-a-model`. */
export function refuseNotModels(linked: readonly LinkedStep[], report: Report): void {
  const results = new Map(linked.map(({ step }) => [step.name, kindOf(step).notModel]))
  for (const { name, at } of linked.flatMap(({ uses }) => uses)) {
    const result = results.get(name)
    if (!result) continue
    const { what, hint } = result
    report.error('not-a-model', `${quote(name)} is ${what}, not a model that a step can use`, at.path, { hint })
  }
}
