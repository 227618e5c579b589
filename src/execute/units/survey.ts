/** Finds the ranks that an energy or a least singular value chooses, before the outputs are planned. */
import { fault } from '../../core/diagnostics.js'
import { factorPlaces } from '../../kernels/held/index.js'
import type { Plan } from '../../plan/types.js'
import { compileFactoring } from '../compile/tensor.js'
import { leafValues } from '../findings.js'
import { shareInStages, surveyInStages } from '../flow/stages.js'
import { refuseInterrupted } from '../interrupted.js'
import { openPool } from '../pools/threads.js'
import { openRun } from '../run.js'
import { schedule } from '../schedule/schedule.js'
import type { Bindings, ExecuteOptions } from '../types.js'
import { roomOf } from './room.js'
import { doShared } from './shared.js'
import type { Engine, OutputFiles } from './types.js'

/** Whether ranks of the plan are only bounds. */
export const hasOpenRanks = ({ factorings }: Plan): boolean => factorings.some(isOpen)

/** The factorings whose ranks a survey finds: indexes into `Plan.factorings`. */
export const openFactorings = ({ factorings }: Plan): number[] =>
  [...factorings.keys()].filter((index) => isOpen(factorings[index]!))

const isOpen = ({ work: { options } }: Plan['factorings'][number]): boolean =>
  options.energy !== undefined || options.above !== undefined

/** A function from the step and the tensor of a factoring to the rank that was chosen: 0 if no singular value is large enough. Writes no files. */
export async function surveyRanks(
  plan: Plan,
  bindings: Bindings,
  options: ExecuteOptions,
): Promise<(step: string, tensor: string) => number | undefined> {
  await options.before?.()
  const { works, analyses, threads, mode } = await openRun(plan, bindings, [], { ...options, digests: false })
  const { signal, findings, kernels, digests } = works
  const open = openFactorings(plan)
  const ranks = new Map<string, number>()
  const pool = await (options.openPool ?? openPool)({
    ...{ threads, mode, signal, ...roomOf(plan) },
    inputs: bindings.files.map((path, file) => ({ path, size: plan.files[file]!.size })),
    outputs: [],
  })
  const engine: Engine = { ...works, pool }
  try {
    const { streaming } = options
    if (streaming) {
      const files: OutputFiles = { readable: plan.files.length, first: new Map(), paths: [] }
      const nothing = async () => {}
      const batch = { engine, streaming, analyses, files, statistics: nothing, deliver: undefined, flush: () => {} }
      await shareInStages(batch)
      await surveyInStages(batch, survey)
    } else {
      await doShared(engine, analyses)
      await survey(open)
    }
  } finally {
    await pool.close()
    await analyses.close()
  }
  return (step, tensor) => ranks.get(keyOf(step, tensor))

  async function survey(some: readonly number[]): Promise<void> {
    await schedule(
      some.map((index) => compileFactoring(plan, index, digests, findings)),
      pool,
      {
        math: kernels.math,
        ...(signal ? { signal } : {}),
        progress: () => {},
        values: leafValues(findings),
        finished(_, { memory }, { finds }) {
          if (!finds || !memory) return
          const { step, tensor, work } = plan.factorings[finds.factoring]!
          const figures = new Float64Array(memory, finds.at + factorPlaces(work).figures, 4)
          // The run that follows reports elements that are not finite.
          if (!Number.isFinite(figures[0]!))
            throw fault(
              'not-finite',
              `${tensor}: the difference contains NaN or infinite elements`,
              `write exclude: ["${tensor}"] to skip it`,
              1,
            )
          const rank = Math.max(work.options.above === undefined ? 1 : 0, figures[3]!)
          ranks.set(keyOf(step, tensor), rank)
          const text = `${tensor}: rank ${rank} of at most ${work.options.rank}`
          options.listen({ kind: 'step', step, text, fraction: ranks.size / open.length })
        },
      },
    )
    refuseInterrupted(signal)
  }
}

const keyOf = (step: string, tensor: string): string => JSON.stringify([step, tensor])
