/** Compares two sides. Pure. */
import { changesOf } from './facts.js'
import { namedChanges, pairsOf, renamesOf } from './names.js'
import { compareOutputs, lone } from './outputs.js'
import type { Side } from './sides/types.js'
import type { Change, Compared, Difference, OutputDifference, Sameness } from './types.js'

export interface CompareOptions {
  readonly kind: Difference['kind']
  /** False: the older side only names the models' files and does not say what is in them. */
  readonly certain: boolean
  /** Keys of the recipes that differ. */
  readonly recipe?: readonly Change[]
  readonly notes?: readonly string[]
}

/** What changes from `a` to `b`. */
export function compareSides(a: Side, b: Side, { kind, certain, recipe = [], notes = [] }: CompareOptions): Difference {
  const renames = renamesOf(a, b)
  const outputs = pairsOf(a.outputs, b.outputs)
    .map(([before, after]): OutputDifference => {
      if (!before) return lone(after!, 'added')
      return after ? compareOutputs(before, after, { renames, recorded: kind === 'lineage' }) : lone(before, 'removed')
    })
    .map((output) => (certain || output.bytes !== 'same' ? output : { ...output, bytes: CONDITIONAL }))
  return {
    difference: 1,
    ...{ kind, a: comparedOf(a), b: comparedOf(b), bytes: allOf(outputs), notes, unreachable: [] },
    models: namedChanges(a.models, b.models, renames.models),
    steps: namedChanges(a.steps, b.steps, renames.steps),
    settings: changesOf(a.settings, b.settings),
    ...{ outputs, recipe },
  }
}

const CONDITIONAL: Sameness = 'same-for-same-inputs'

const comparedOf = ({ name, digest, commit }: Compared): Compared => ({
  name,
  ...(digest === undefined ? {} : { digest }),
  ...(commit === undefined ? {} : { commit }),
})

function allOf(outputs: readonly OutputDifference[]): Sameness {
  const order: readonly Sameness[] = ['differ', 'unknown', CONDITIONAL, 'same']
  return order.find((one) => outputs.some(({ bytes }) => bytes === one)) ?? 'unknown'
}
