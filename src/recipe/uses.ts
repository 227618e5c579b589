import type { Step } from '../steps/index.js'

/** Models and steps that a step works on. */
export function usesOf(step: Step): readonly string[] {
  switch (step.kind) {
    case 'merge':
      return [step.base, ...[step.settings, ...step.rules.map((rule) => rule.settings)].flatMap(({ models }) => models)]
    case 'rebasin':
      return [...(step.joint?.models ?? [step.model]), step.onto]
    case 'repair':
      return [step.model]
    case 'interpolate':
      return [step.from, step.to]
    case 'stack':
      return step.slices.map((slice) => slice.model)
    case 'extract':
      return [step.from, step.base]
  }
}

/** Models and steps that `from` is made of, itself included. `steps` are in the order of work. */
export function reachedFrom(from: string, steps: readonly Step[]): ReadonlySet<string> {
  const reached = new Set([from])
  // From the last to the first: each step is known to be needed before it is looked at.
  for (const step of [...steps].reverse())
    if (reached.has(step.name)) for (const name of usesOf(step)) reached.add(name)
  return reached
}
