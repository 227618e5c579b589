/** Does one part of a run, or the analyses that all parts need. */
import path from 'node:path'
import { type Diagnostic, fault } from '../../core/diagnostics.js'
import type { Listener } from '../../execute/events.js'
import { claimedOutput } from '../../execute/outputs.js'
import { withPace } from '../../execute/paced.js'
import { type DonePart, executePart } from '../../execute/parts/part.js'
import { statisticsFiles } from '../../execute/schedule/statistics.js'
import type { ExecuteOptions } from '../../execute/types.js'
import { surveyRanks } from '../../execute/units/survey.js'
import type { Part } from '../../execute/units/types.js'
import { partsOf } from '../../plan/parts.js'
import { storedTensors } from '../../plan/stored.js'
import type { Plan } from '../../plan/types.js'
import { planUnits } from '../../plan/units.js'
import { flushFiles, sharedStaging } from '../../storage/local/shared/files.js'
import {
  makeOwnFolder,
  namesOf,
  outputFolder,
  ownName,
  removeShared,
  writeRecord,
} from '../../storage/local/shared/folder.js'
import { enter, othersIn } from '../../storage/local/shared/presence.js'
import type { Staging } from '../../storage/local/staging.js'
import { checkSums, fetchModels } from '../opened/models.js'
import type { Prepared } from '../plan.js'
import { executeOptions, type RunOptions, refuseCommands } from '../run.js'
import { type PartRecord, recordText } from './records.js'
import {
  ANALYSE,
  certainDigests,
  MOST_PARTS,
  modelsWith,
  needsAnalyses,
  openWork,
  partName,
  partText,
  rankedBy,
  recordIn,
  refuseOutputs,
  workFolderOf,
} from './work.js'

/** How to do a part. `resume` is of no use: a part always continues what was done of it. */
export type PartOptions = Omit<RunOptions, 'resume' | 'sha256' | 'disk'> & {
  /** The folder that all machines share. Default: one beside the first output. */
  readonly work?: string
}

/** `analyse`, or the index of a part, from 0, and the number of parts. */
export type PartChoice = 'analyse' | { readonly index: number; readonly of: number }

/** The result of a part. */
export interface PartResult {
  /** Absolute path of the work folder. */
  readonly work: string
  /** The number of tensors that it made. */
  readonly tensors: number
  /** Bytes that it wrote. */
  readonly bytes: number
  /** Warnings about the results. */
  readonly warnings: readonly Diagnostic[]
  /** How long it took. */
  readonly seconds: number
}

/** For tests: where tasks run. */
type PartInternals = Pick<ExecuteOptions, 'openPool' | 'rangeBytes'>

/**
 * Does one part of a plan, or its analyses, and records it in the work folder. Parts can run on several machines at the same time, in
 * any order, again after a failure, and twice at once. `finishParts` publishes the outputs when all are done.
 *
 * @throws `analysis-missing` if the plan has analyses that were not run yet
 * @throws `other-work` if the work folder has parts of another plan, or another number of parts
 * @throws `work-in-use` if the parts are being finished
 * @throws the errors of `run` about inputs and outputs
 */
export const runPart = (prepared: Prepared, choice: PartChoice, options: PartOptions = {}): Promise<PartResult> =>
  runPartWith(prepared, choice, options, {})

export const runPartWith = (
  prepared: Prepared,
  choice: PartChoice,
  options: PartOptions,
  internals: PartInternals,
): Promise<PartResult> =>
  withPace(options.listen, (listen) =>
    runPaced(prepared, choice, { ...options, ...(listen ? { listen } : {}) }, internals),
  )

async function runPaced(
  given: Prepared,
  choice: PartChoice,
  options: PartOptions,
  internals: PartInternals,
): Promise<PartResult> {
  const started = performance.now()
  if (options.digests === false)
    throw fault('contradiction', 'parts are recognized by digests, which --no-digests skips', 'remove --no-digests')
  if (choice !== ANALYSE) checkChoice(choice)
  const warnings: Diagnostic[] = []
  const listen: Listener = (event) => {
    if (event.kind === 'warning') warnings.push(event.diagnostic)
    options.listen?.(event)
  }
  const { plan } = given
  const work = workFolderOf(given, options.work)
  await refuseOutputs(given, options.force ?? false)
  await openWork(work, plan, choice === ANALYSE ? undefined : choice.of)
  const role = choice === ANALYSE ? ANALYSE : partName(choice.index, choice.of)
  const presence = await enter(work, role)
  try {
    const { signal } = options
    if ((await othersIn(work, presence, (role) => role === 'finish', { signal })).length > 0)
      throw fault('work-in-use', `${work}: another run is finishing the parts`, 'wait for it to end')
    const own = { ...options, listen }
    const made =
      choice === ANALYSE
        ? await analyse(given, work, own, internals)
        : await doPart(given, work, choice, own, internals)
    await writeRecord(work, role, recordText(made.record), options.sync ?? true)
    const seconds = (performance.now() - started) / 1000
    listen({ kind: 'end', seconds })
    return { work, tensors: made.tensors, bytes: made.bytes, warnings, seconds }
  } finally {
    await presence.leave()
  }
}

function checkChoice({ index, of }: { readonly index: number; readonly of: number }): void {
  if (Number.isInteger(index) && Number.isInteger(of) && index >= 0 && index < of && of <= MOST_PARTS) return
  throw fault(
    'bad-value',
    `there is no part ${index} of ${of}`,
    `write parts from 0 to N − 1, of at most ${MOST_PARTS}`,
  )
}

interface Made {
  readonly record: PartRecord
  readonly tensors: number
  readonly bytes: number
}

type Own = PartOptions & { readonly listen: Listener }

/** Finds what all parts need: ranks by energy, and the results of analyses and scopes. */
async function analyse(given: Prepared, work: string, options: Own, internals: PartInternals): Promise<Made> {
  const { plan: first, recipe } = given
  const part: Part = { finds: true, owns: () => false, digests: () => false, cost: { read: 0, write: 0, tensors: 0 } }
  const nothing = { records: [], digests: [], states: [] }
  if (!needsAnalyses(given))
    return { record: { plan: first.digest, part: ANALYSE, ranks: [], ...nothing }, tensors: 0, bytes: 0 }
  if ((options.commands ?? 'refuse') === 'refuse' && first.analyses.some(({ select }) => select)) refuseCommands(recipe)
  const rankOf = given.withRanks
    ? await surveyRanks(first, given.bindings, { ...optionsFor(given, options, allFiles(first)), ...internals })
    : undefined
  const prepared = rankOf && given.withRanks ? await given.withRanks(rankOf) : given
  const { plan } = prepared
  const ranks = first.factorings.flatMap(({ step, tensor }) => {
    const rank = rankOf?.(step, tensor)
    return rank === undefined ? [] : [[step, tensor, rank] as const]
  })
  const stored = storedTensors(plan)
  // Candidates are whole outputs.
  const read = plan.analyses.some(({ select }) => select)
    ? allFiles(plan)
    : new Set([
        ...statisticsFiles(plan),
        ...planUnits(plan)
          .shared()
          .flatMap(({ reads }) => reads.map((number) => stored.placeOf(number).file)),
      ])
  // Candidates of a selection are made here. Parts that run at the same time must not see them.
  const own = await makeOwnFolder(work)
  try {
    const done = await execute(prepared, work, ANALYSE, part, (output) => path.join(own, String(output)), {
      ...optionsFor(prepared, options, read),
      ...internals,
    })
    return { record: { plan: first.digest, part: ANALYSE, ranks, ...done }, tensors: 0, bytes: 0 }
  } finally {
    await removeShared(own)
  }
}

async function doPart(
  given: Prepared,
  work: string,
  { index, of }: { readonly index: number; readonly of: number },
  options: Own,
  internals: PartInternals,
): Promise<Made> {
  const found = needsAnalyses(given) ? await recordIn(work, given.plan, ANALYSE, ANALYSE) : undefined
  if (!found && needsAnalyses(given)) throw analysisMissing(given)
  const prepared = await rankedBy(given, found)
  const { plan } = prepared
  const [name, text] = [partName(index, of), partText(index, of)]
  const { files, written, ...rest } = partsOf(plan, of)[index]!
  const folder = (output: number) => outputFolder(work, output)
  const earlier = await recordIn(work, given.plan, name, text)
  const done = await execute(prepared, work, name, { ...rest, finds: false }, folder, {
    ...optionsFor(prepared, options, files),
    ...internals,
    records: [...(found?.records ?? []), ...(earlier?.records ?? [])],
    ...(found ? { known: certainDigests(prepared, found) } : {}),
    left: () => analysisMissing(given, 'were found with other inputs'),
  })
  if (options.sync ?? true)
    for (const [output, own] of written) {
      const { files } = claimedOutput(plan, output, stagingOf(prepared, output, folder))
      await flushFiles(
        folder(output),
        own.map((file) => path.relative(folder(output), files[file]!)),
      )
    }
  const record = { plan: given.plan.digest, part: text, ranks: [], ...done }
  return { record, tensors: rest.cost.tensors, bytes: rest.cost.write }
}

/** Runs a part, with a journal that other attempts at it can read. */
async function execute(
  { plan, bindings }: Prepared,
  work: string,
  name: string,
  part: Part,
  folder: (output: number) => string,
  options: ExecuteOptions,
): Promise<DonePart> {
  const others = (await namesOf(work, '.journal')).filter((one) => one.startsWith(`${name}.`))
  const own = path.join(work, `${name}.${ownName()}.journal`)
  const done = await executePart(plan, bindings, options, part, {
    staging: (output) => stagingOf({ plan, bindings }, output, folder),
    journal: { own, others: others.map((one) => path.join(work, `${one}.journal`)), records: [] },
  })
  await removeShared(own)
  return done
}

const stagingOf = (
  { plan, bindings }: Pick<Prepared, 'plan' | 'bindings'>,
  output: number,
  folder: (output: number) => string,
): Staging => sharedStaging(bindings.outputs[output]!, plan.outputs[output]!.layout, folder(output))

const allFiles = ({ files }: Plan): number[] => [...files.keys()]

/** Options for a run that reads only some of the plan's files. */
function optionsFor(prepared: Prepared, options: Own, files: Iterable<number>): ExecuteOptions {
  const { recipe } = prepared
  const { listen, signal } = options
  const models = modelsWith(prepared, files)
  return {
    ...executeOptions(prepared, options),
    async before() {
      await fetchModels(models, { listen, ...(signal ? { signal } : {}) }, recipe)
      await checkSums(recipe, models, { listen, ...(signal ? { signal } : {}) })
    },
  }
}

const analysisMissing = ({ plan }: Prepared, what = 'are missing') => {
  const [first] = plan.analyses
  const of = first ? `step ${first.steps[0]}` : 'the whole models'
  return fault(
    'analysis-missing',
    `the results of the analyses, which all parts need (${of}), ${what}`,
    'first run the same command with --part analyse',
  )
}
