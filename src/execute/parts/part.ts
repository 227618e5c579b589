/** One part of a run: the units of a plan that one machine does. Another run publishes the outputs with the records of all parts. */
import type { Plan } from '../../plan/types.js'
import { refuseChanged } from '../../storage/local/inputStates.js'
import type { Staging } from '../../storage/local/staging.js'
import { interrupted, withLeft } from '../interrupted.js'
import { claimedOutput } from '../outputs.js'
import { doBatch, openRun } from '../run.js'
import type { Bindings, ExecuteOptions } from '../types.js'
import type { UnitRecord } from '../units/records.js'
import type { Part } from '../units/types.js'
import { type AttemptJournal, openAttempt } from './attempt.js'

/** What a part has found out. */
export interface DonePart {
  readonly records: readonly UnitRecord[]
  /** Digests of the stored tensors that it read, or that it was given. */
  readonly digests: readonly (readonly [stored: number, digest: string])[]
  /** The states of the files that it read, by `Plan.files`; undefined for a file that is not on this machine. */
  readonly states: readonly (string | undefined)[]
}

/** Where a part works. */
export interface PartPlace {
  /** The folder of an output's files, which other processes can share. */
  readonly staging: (output: number) => Staging
  /** By output, the files that it makes: indexes into `PlanOutput.files`. */
  readonly own: (output: number) => ReadonlySet<number>
  readonly journal: AttemptJournal
}

/**
 * Does the units of a part. Other runs can do other parts, or the same one, at the same time in the same files: what they write is the
 * same. Errors: those of reading and writing; `input-changed`; `interrupted`, after finished work was recorded.
 */
export async function executePart(
  plan: Plan,
  bindings: Bindings,
  options: ExecuteOptions,
  part: Part,
  { staging, own, journal }: PartPlace,
): Promise<DonePart> {
  const { signal } = options
  try {
    await options.before?.()
    const claimed = plan.outputs.map((_, output) => claimedOutput(plan, output, staging(output), own(output)))
    const run = await openRun(
      plan,
      bindings,
      claimed,
      { ...options, resume: true },
      {
        part,
        journals: (inputs) => openAttempt(journal, inputs, (output) => options.deliveries?.has(output) !== true),
      },
    )
    try {
      const made = run.batches.filter((batch) =>
        batch.some(({ output }) => plan.outputs[output]!.tensors.some((_, tensor) => part.owns(output, tensor))),
      )
      // Stored tensors that are only digested belong to no batch.
      const batches = made.length > 0 ? made : run.batches.slice(0, 1)
      for (const batch of batches) await doBatch({ ...run, batches }, batch, bindings, options)
      // Digests may be of other content than what units were computed from.
      await refuseChanged(run.inputs())
      if (signal?.aborted) throw interrupted()
      const { records, digests } = run.works
      // Files that come and go are not among them.
      const states = new Map(run.inputs().map(({ path, state }) => [path, state]))
      const stay = (file: number) => options.streaming?.supply.brings(file) !== true
      return {
        records: [...records.all()],
        digests: [...digests.all()],
        states: bindings.files.map((path, file) => (stay(file) ? states.get(path) : undefined)),
      }
    } finally {
      await run.analyses.close()
    }
  } catch (error) {
    throw withLeft(error, signal, { complete: 0, outputs: 1, resume: true })
  }
}
