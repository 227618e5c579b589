/** `stack`: stacks layers of one or several models. */
import type { StepKind } from '../types.js'
import { planStack } from './plan.js'
import { stackStep } from './read.js'
import { definitions, stack as schema } from './schema.js'
import type { StackStep } from './types.js'

export const stack: StepKind<StackStep> = {
  kind: 'stack',
  schema,
  definitions,
  read: ({ name, at }, { scope, use }) => stackStep(name, at, scope.report, use),
  uses: ({ slices }) => slices.map(({ model }) => model),
  like: ({ slices }) => slices[0]?.model ?? '',
  plan: (step, { recipe, values, configOf, faults }) => ({ value: planStack(recipe, step, values, configOf, faults) }),
}
