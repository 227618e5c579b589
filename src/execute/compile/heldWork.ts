import { aligned } from '../../core/webassembly.js'
import { TEAM_BYTES } from '../../kernels/dense/team.js'
import { type HeldWork, heldLayout } from '../../kernels/held/index.js'
import { type Added, assignDuty, type Draft } from './draft.js'

/** Adds the passes of work on whole matrices. Returns the address of the result. */
export function addWork(draft: Draft, work: HeldWork, models: readonly Added[], base: Added | undefined): number {
  const { passes, held } = draft
  const layout = heldLayout(work)
  const origin = TEAM_BYTES + draft.heldBytes
  draft.heldBytes += aligned(layout.bytes)
  const index = held.push({ work, origin, own: origin + layout.own }) - 1
  for (const step of layout.steps) {
    if (step.kind === 'solve') {
      passes.push({ kind: 'solve', work: index, stage: step.stage })
      continue
    }
    const { terms, onBase, elements, first, narrow } = step
    const read = [...terms.map(({ input }) => models[input]!), ...(onBase && base ? [base] : [])]
    const pass = passes.push({
      kind: 'fill',
      terms: terms.map(({ input, factor }) => ({ node: models[input]!.node, factor })),
      base: onBase && base ? base.node : -1,
      elements,
      ...(first === undefined ? {} : { first }),
      at: origin + step.at,
      narrow,
    })
    assignDuty(
      draft,
      read.flatMap(({ below }) => below),
      pass - 1,
    )
  }
  return origin + layout.result
}
