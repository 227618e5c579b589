import { kindOf, type Step } from '../steps/index.js'

/** The models and steps that a step uses. */
export const usesOf = (step: Step): readonly string[] => kindOf(step).uses(step)

/** The models and steps that `from` depends on, including itself. `steps` are in dependency order. */
export function reachedFrom(from: string, steps: readonly Step[]): ReadonlySet<string> {
  const reached = new Set([from])
  // Backwards: whether a step is needed is known before the loop reaches it.
  for (const step of [...steps].reverse())
    if (reached.has(step.name)) for (const name of usesOf(step)) reached.add(name)
  return reached
}
