/** Steps that give the results of a recipe another model's vocabulary. */
import { type Cursor, get, isMapping } from '../../language/cursor.js'
import type { TransplantStep } from '../../steps/transplant/types.js'
import type { LinkedStep } from '../steps.js'
import type { OutputSpec, TokenizerChoice } from '../types.js'

/** Adds a step for each model or step that is written, if `tokenizer` has `missing`. The outputs then have its result. */
export function withTransplants(
  linked: readonly LinkedStep[],
  outputs: readonly OutputSpec[],
  choice: TokenizerChoice | undefined,
  at: Cursor | undefined,
  models: Iterable<string>,
): { readonly linked: readonly LinkedStep[]; readonly outputs: readonly OutputSpec[] } {
  const settings = choice?.transplant
  if (!choice || !settings || !at) return { linked, outputs }
  const taken = new Set([...models, ...linked.map(({ step }) => step.name)])
  const results = [...new Set(outputs.map(({ from }) => from))].filter((from) => from !== '')
  const nameOf = (from: string): string => {
    let name = results.length === 1 ? 'transplant' : `transplant of ${from}`
    while (taken.has(name)) name = `${name}'`
    return name
  }
  const names = new Map(results.map((from) => [from, nameOf(from)]))
  const source = (isMapping(at) && get(at, 'source')) || at
  const added = [...names].map(([model, name]): LinkedStep => {
    const step: TransplantStep = { kind: 'transplant', name, at: choice.at, model, donor: choice.source, ...settings }
    return {
      step,
      uses: [
        { name: model, at },
        { name: choice.source, at: source },
      ],
      written: name,
    }
  })
  return {
    linked: [...linked, ...added],
    outputs: outputs.map((output) => ({ ...output, from: names.get(output.from) ?? output.from })),
  }
}
