import { kindOf, type Step } from '../steps/index.js'

/** Models and steps that a step works on. */
export const usesOf = (step: Step): readonly string[] => kindOf(step).uses(step)

/** Models and steps that `from` is made of, itself included. `steps` are in the order of work. */
export function reachedFrom(from: string, steps: readonly Step[]): ReadonlySet<string> {
  const reached = new Set([from])
  // From the last to the first: each step is known to be needed before it is looked at.
  for (const step of [...steps].reverse())
    if (reached.has(step.name)) for (const name of usesOf(step)) reached.add(name)
  return reached
}
