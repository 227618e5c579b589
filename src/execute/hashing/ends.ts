/** When a run is done with files: their bytes are then still in memory, for whoever wants to read them once more. */
import type { Plan } from '../../plan/types.js'
import type { PlanUnits, Unit } from '../../plan/units.js'
import type { ClaimedOutput } from '../outputs.js'
import type { FileEnds } from '../types.js'

export interface FileCounts {
  /** A stored tensor was digested. */
  stored(number: number): void
  /** A unit was done in this run. */
  made(unit: Unit): void
}

/**
 * Counts what is left of each file. A file is not reported if an earlier run did a part of it. Checkpoints of checks are never reported.
 */
export function fileCounts(
  plan: Plan,
  { stored }: PlanUnits,
  claimed: readonly ClaimedOutput[],
  ends: FileEnds,
): FileCounts {
  const unread = plan.files.map(({ tensors }) => tensors.length)
  const places = new Map(claimed.map(({ output, files }) => [output, files]))
  const unmade = plan.outputs.map(({ files, tensors }) => {
    const counts = files.map(() => 0)
    for (const tensor of tensors) for (const file of filesOf(tensor)) counts[file]!++
    return counts
  })
  return {
    stored(number) {
      const { file } = stored.placeOf(number)
      if (--unread[file]! === 0) ends.input(file)
    },
    made({ makes }) {
      for (const { output, tensor } of makes) {
        const { tensors, check } = plan.outputs[output]!
        if (check) continue
        for (const file of filesOf(tensors[tensor]!))
          if (--unmade[output]![file]! === 0) ends.output(places.get(output)![file]!)
      }
    },
  }
}

const filesOf = ({ placements }: Plan['outputs'][number]['tensors'][number]): Set<number> =>
  new Set(placements.map(({ file }) => file))
