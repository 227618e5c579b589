/** `interpolate`: checkpoints on the path from one model to another. */
import type { StepKind } from '../types.js'
import { planPoints } from './plan.js'
import { readInterpolate } from './read.js'
import { interpolate as schema } from './schema.js'
import type { InterpolateStep } from './types.js'

export const interpolate: StepKind<InterpolateStep> = {
  kind: 'interpolate',
  schema,
  read: readInterpolate,
  uses: ({ from, to }) => [from, to],
  like: ({ from }) => from,
  sharesNames: true,
  notModel: {
    what: 'a series of checkpoints',
    hint: 'merge the two models with the weights of one point',
  },
  count: ({ points }) => points.length,
  evaluate: ({ evaluate }) => evaluate,
  measured: {
    of: ({ repair }) => (repair === undefined || repair === 'correlation' ? [] : repair.statistics),
    named: (step, statistics) => ({ ...step, repair: { statistics } }),
  },
  files: ({ repair }) =>
    repair === undefined || repair === 'correlation' ? [] : repair.statistics.map(({ file }) => file),
  plan(step, context) {
    const { name, at, keep, evaluate } = step
    const points = planPoints(step, context.configOf(context.values.get(step.from)!.origin), context)
    return { way: { step: name, at, points, keep, ...(evaluate ? { evaluate } : {}) } }
  },
}
