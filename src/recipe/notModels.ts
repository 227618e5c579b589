/** Steps whose results no step can work on. */
import { quote } from '../core/suggest.js'
import type { Report } from '../language/report.js'
import type { Step } from '../steps/index.js'
import type { LinkedStep } from './steps.js'

const NO_MODELS: Partial<Record<Step['kind'], readonly [what: string, hint: string]>> = {
  interpolate: ['a path of several checkpoints', 'merge the two models with the weights of one point'],
  extract: ['an adapter', 'write it to an output; a model takes it on by lora: PATH'],
}

/** Tells where a step names what is no model: `not-a-model`. */
export function refuseNotModels(linked: readonly LinkedStep[], report: Report): void {
  const kinds = new Map(linked.map(({ step }) => [step.name, step.kind]))
  for (const { name, at } of linked.flatMap(({ uses }) => uses)) {
    const kind = kinds.get(name)
    const [what, hint] = (kind && NO_MODELS[kind]) ?? []
    if (what === undefined) continue
    report.error('not-a-model', `${quote(name)} is ${what}, not a model that a step can use`, at.path, { hint })
  }
}
