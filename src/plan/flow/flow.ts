/** The stages of a run: a pure function of the plan and of which files are elsewhere. It never changes what is written. */
import type { Plan } from '../types.js'
import { type OrderStep, orderOf } from './order.js'
import { type PhasePieces, phasesOf, type Things, thingsOf } from './pieces.js'
import type { Flow, FlowOptions, Stage } from './types.js'

/**
 * Orders the work of a plan so that each file comes once and goes after its last use. Files that several phases read stay from the
 * first to the last. If that needs more than `disk`, they come again for each phase instead, which needs less.
 */
export function flowOf(plan: Plan, options: FlowOptions): Flow {
  const things = thingsOf(plan, options)
  const phases = phasesOf(plan, things, options)
  const once = staged(plan, things, phases, false, options)
  const { disk = Number.POSITIVE_INFINITY } = options
  if (once.leastDisk <= disk || phases.length === 1) return once
  const again = staged(plan, things, phases, true, options)
  return again.leastDisk < once.leastDisk ? again : once
}

function staged(
  plan: Plan,
  things: Things,
  phases: readonly PhasePieces[],
  again: boolean,
  { digests = true, part }: FlowOptions,
): Flow {
  const uses = phases.map(({ pieces }) => new Set(pieces.flatMap((piece) => piece.things)))
  const digestedIn = digestPhases(phases, uses)
  const stages: Stage[] = []
  let there: ReadonlySet<number> = new Set()
  let [transfer, leastDisk, largest] = [0, 0, -1]
  for (const [index, { phase, pieces }] of phases.entries()) {
    const stay = again ? new Set<number>() : new Set(uses.slice(index + 1).flatMap((used) => [...used]))
    const steps = orderOf(
      pieces.map((piece) => piece.things),
      things.sizes,
      { there, stay },
    )
    const ends = lastSteps(steps, pieces)
    const begun = new Set<number>()
    for (const [place, step] of steps.entries()) {
      for (const thing of step.opens) {
        if (things.written[thing]) begun.add(thing)
        else transfer += plan.files[things.files[thing]![0]!]!.size
      }
      if (step.bytes > leastDisk) [leastDisk, largest] = [step.bytes, stages.length]
      const digested = usedBy(step, pieces).filter(
        (thing) => ends.get(thing) === place && digestedIn.get(thing) === index,
      )
      stages.push({
        phase,
        pieces: step.pieces.map((piece) => ({ ...pieces[piece]!, contents: pieces[piece]!.things.filter(isRead) })),
        needs: filesOf(step.opens),
        last: filesOf(step.closes),
        digests: digests ? filesOf(digested).filter((file) => part?.digested.has(file) !== false) : [],
        complete: step.closes.flatMap((thing) => things.written[thing] ?? []),
        beside: [...begun].reduce((sum, thing) => sum + things.sizes[thing]!, 0),
      })
      for (const thing of step.closes) begun.delete(thing)
    }
    const used = new Set([...there, ...uses[index]!])
    there = new Set([...used].filter((thing) => stay.has(thing)))
  }
  return { stages, contents: things.files.filter((files) => files.length > 0), transfer, leastDisk, largest, again }

  function isRead(thing: number): boolean {
    return things.files[thing]!.length > 0
  }
  function filesOf(all: readonly number[]): number[] {
    return all.flatMap((thing) => things.files[thing]!).sort((a, b) => a - b)
  }
}

const usedBy = (step: OrderStep, pieces: PhasePieces['pieces']): number[] => [
  ...new Set(step.pieces.flatMap((piece) => pieces[piece]!.things)),
]

/** By thing, the last step that uses it, although it may stay for another phase. */
function lastSteps(steps: readonly OrderStep[], pieces: PhasePieces['pieces']): ReadonlyMap<number, number> {
  const last = new Map<number, number>()
  for (const [place, step] of steps.entries()) for (const thing of usedBy(step, pieces)) last.set(thing, place)
  return last
}

/**
 * By thing, the phase that ends with digests of all its tensors: its last use, not later than the phase that publishes the first
 * output.
 */
function digestPhases(
  phases: readonly PhasePieces[],
  uses: readonly ReadonlySet<number>[],
): ReadonlyMap<number, number> {
  const found = new Map<number, number>()
  for (const [index, { phase }] of phases.entries()) {
    for (const thing of uses[index]!) found.set(thing, index)
    if (phase.kind === 'batch' && phase.first) break
  }
  return found
}
