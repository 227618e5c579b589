/** `stack`: stacks layers of one or several models. */
import { runsOf, runsText } from '../../core/collections/runs.js'
import { list, natural, number, object, text } from '../../core/json/shape.js'
import type { StepKind } from '../types.js'
import { planStack } from './plan.js'
import { stackStep } from './read.js'
import { definitions, stack as schema } from './schema.js'
import type { StackSaid, StackStep } from './types.js'

/** The layers of each model of a draw: `a 0, 2–4; b 1`. Undefined for a stack of slices. */
function drawn({ models, layers = [], seed }: StackSaid): string | undefined {
  if (seed === undefined) return undefined
  const of = models.map((model) => {
    const own = [...layers.keys()].filter((layer) => layers[layer] === model)
    return `${model} ${own.length > 0 ? runsText(runsOf(own)) : 'none'}`
  })
  return `layers drawn with the seed ${seed}: ${of.join('; ')}`
}

export const stack: StepKind<StackStep, never, never, StackSaid> = {
  kind: 'stack',
  schema,
  definitions,
  read: ({ name, at }, { scope, use }) => stackStep(name, at, scope.report, use),
  uses: ({ slices }) => slices.map(({ model }) => model),
  like: ({ slices }) => slices[0]?.model ?? '',
  plan: (step, { recipe, values, configOf, faults }) => planStack(recipe, step, values, configOf, faults),
  readRecord: object<StackSaid>(
    { models: list(text), seed: natural, weights: list(number), layers: list(text) },
    'seed',
    'weights',
    'layers',
  ),
  planLines({ says }) {
    const line = says && drawn(says)
    return line === undefined ? [] : [{ text: line }]
  },
  line(name, record) {
    const line = drawn(record)
    return line === undefined ? undefined : `${name}: ${line}`
  },
}
