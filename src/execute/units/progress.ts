import { writtenBytes } from '../../plan/placements.js'
import type { Plan } from '../../plan/types.js'
import type { FactorFigures } from '../../steps/shared/factored.js'
import type { Listener } from '../events.js'

/** What a part of a run reads and writes. */
export interface PartCost {
  readonly read: number
  readonly write: number
  readonly tensors: number
}

/** Emits the progress of a run, over all of its batches. */
export interface RunProgress {
  /** A batch begins. Bytes and tensors that an earlier run has finished, and bytes that need not be read. */
  readonly begin: (done: number, tensors: number, spared?: number) => void
  /** These bytes as well. `tensor`: the one that they are for, if it is one of the outputs'. */
  readonly bytes: (read: number, written: number, tensor?: string) => void
  readonly tensor: (made: boolean) => void
  /** A factoring is done. */
  readonly found: (plan: Plan, factoring: number, figures: FactorFigures) => void
  readonly end: () => void
}

/** Progress of all of a plan's outputs, or of a part with this cost. `finished`: whether an earlier run published an output. */
export function runProgress(
  plan: Plan,
  threads: number,
  listen: Listener,
  finished: (output: number) => boolean,
  part?: PartCost,
): RunProgress {
  const before = plan.outputs.filter((_, index) => finished(index)).flatMap(({ tensors }) => tensors)
  let read = 0
  let written = before.reduce((sum, tensor) => sum + writtenBytes(tensor), 0)
  let tensors = before.length
  let begun = false
  const all = plan.outputs.reduce((sum, output) => sum + output.tensors.length, 0)
  const { read: toRead, write, tensors: total } = part ?? { ...plan.cost, tensors: all }
  let underWay: string | undefined
  const emit = () =>
    listen({ kind: 'progress', read, written, tensors, ...(underWay === undefined ? {} : { tensor: underWay }) })
  return {
    begin(done, more, spared = 0) {
      written += done
      tensors += more
      if (!begun)
        listen({ kind: 'start', read: Math.max(0, toRead - spared), write, tensors: total, threads, done: written })
      begun = true
    },
    bytes(more, out, tensor = underWay) {
      read += more
      written += out
      underWay = tensor
      if (begun) emit()
    },
    tensor(made) {
      if (made) tensors++
    },
    found(plan, factoring, [squares, , kept]) {
      const { step, tensor, work } = plan.factorings[factoring]!
      const energy =
        squares > 0 ? `explains ${((100 * kept) / squares).toFixed(1)} % of the difference` : 'no difference'
      const fraction = (factoring + 1) / plan.factorings.length
      listen({ kind: 'step', step, text: `${tensor}: rank ${work.options.rank}, ${energy}`, fraction })
    },
    end: emit,
  }
}
