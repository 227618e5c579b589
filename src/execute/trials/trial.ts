/** Checkpoints that are made one after another in the same place, to be evaluated. */
import { storedTensors } from '../../plan/stored.js'
import type { Plan } from '../../plan/types.js'
import { refuseChanged } from '../../storage/local/inputStates.js'
import type { Staging } from '../../storage/local/staging.js'
import type { Figures } from '../commands/command.js'
import type { Journals } from '../journal.js'
import { type ClaimedOutput, claimedOutput, evaluate } from '../outputs.js'
import { doBatch, finish, openRun } from '../run.js'
import type { Bindings, Executed, ExecuteOptions } from '../types.js'
import type { UnitRecord } from '../units/records.js'
import { placeKey } from '../units/storedDigests.js'

/** A checkpoint that was made in a place. */
export interface MadeTrial {
  readonly claimed: ClaimedOutput
  readonly executed: Executed
  /** The number of tensors that were computed. The others were there already. */
  readonly computed: number
  readonly records: readonly UnitRecord[]
}

/** Digests of stored tensors by the path of their file and their place in it. */
export type KnownDigests = Map<string, string>

export const knownKey = (file: string, place: { readonly offset: number; readonly bytes: number }): string =>
  `${file}\n${placeKey(place)}`

/** Nothing is written down: a search that was killed begins each place anew. */
function countingJournals(made: { count: number }): Journals {
  return {
    ...{ found: [], tiles: [], stored: new Map() },
    add: (output) => void (output !== undefined && made.count++),
    ...{ addTiles: () => {}, note: () => {}, flush: () => {} },
  }
}

/**
 * Makes the only output of a plan in a claimed place. `options.records` are those of the trial before: tensors that have the same key and
 * the same content in the place are not computed again. `known`: digests of inputs from earlier trials; gets those that are found.
 * Errors: as those of a run; `input-changed`.
 */
export async function makeTrial(
  plan: Plan,
  bindings: Bindings,
  staging: Staging,
  options: ExecuteOptions,
  known: KnownDigests,
): Promise<MadeTrial> {
  const claimed = claimedOutput(plan, 0, staging)
  const made = { count: 0 }
  const stored = storedTensors(plan)
  const keyOf = (number: number): string => {
    const { file, ...place } = stored.placeOf(number)
    return knownKey(bindings.files[file]!, place)
  }
  const found = [...stored.numbers()].flatMap((number) => {
    const digest = known.get(keyOf(number))
    return digest === undefined ? [] : [[number, digest] as const]
  })
  const run = await openRun(
    plan,
    bindings,
    [claimed],
    { ...options, known: new Map(found) },
    { journals: () => countingJournals(made) },
  )
  try {
    const [batch] = run.batches
    if (!batch || run.batches.length !== 1) throw new Error('internal: a trial has one output')
    await doBatch(run, batch, bindings, options)
    // The caller evaluates it.
    const { commands: _, ...quiet } = options
    const executed = await finish(run, batch, bindings, quiet, 0)
    await refuseChanged(run.inputs())
    for (const [number, digest] of run.works.digests.all()) known.set(keyOf(number), digest)
    return { claimed, executed, computed: made.count, records: [...executed.records()] }
  } finally {
    await run.analyses.close()
  }
}

/** The metrics of a checkpoint. Errors: those of commands. */
export async function evaluateTrial(
  { outputs }: Plan,
  { claimed }: MadeTrial,
  options: Pick<ExecuteOptions, 'commands' | 'signal'>,
  env: Readonly<Record<string, string>>,
): Promise<Figures> {
  const figures = await evaluate(outputs[0]!, claimed, { ...options, listen: () => {} }, 0, env)
  if (!figures) throw new Error('internal: a trial without a command')
  return figures
}
