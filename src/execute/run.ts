import { irreplaceable } from '../checkpoints/replaceable.js'
import { type Diagnostic, Fault } from '../core/diagnostics.js'
import { compileKernels, smallKernels } from '../kernels/index.js'
import { batchesOf } from '../plan/flow/batches.js'
import type { Plan } from '../plan/types.js'
import { planUnits } from '../plan/units.js'
import { areUnchanged, completeStates, type InputState, refuseChanged } from '../storage/local/inputStates.js'
import { discard, leave, openStaging, type Staging } from '../storage/local/staging.js'
import { defaultMode, type WindowMode } from '../storage/local/window.js'
import { analysesBudget, keptWithin, recallWithin, threadsWithin, usefulThreads } from './budget.js'
import { type Candidates, candidateJudge } from './candidates.js'
import { type CheckBook, checkBook, withChecks } from './commands/checks.js'
import type { Findings } from './findings.js'
import { mergeInStages, shareInStages } from './flow/stages.js'
import { fileCounts } from './hashing/ends.js'
import { refuseInterrupted, withLeft } from './interrupted.js'
import { type Journals, openJournals } from './journal.js'
import { type ClaimedOutput, claimedOutput, evaluate, publishOutputs, stageBeside, stageWeights } from './outputs.js'
import { openPool } from './pools/threads.js'
import { refuseNonFinite, remarkDiagnostics } from './remarks.js'
import { factorShelf } from './schedule/factorings.js'
import { checkStatistics } from './schedule/statistics.js'
import type { Bindings, Description, Executed, ExecutedOutput, ExecuteOptions } from './types.js'
import { type AnalysisRoom, analysisRoom } from './units/analyses.js'
import { claimsOf } from './units/claims.js'
import { inputDigests } from './units/inputDigests.js'
import { runProgress } from './units/progress.js'
import { recordBook } from './units/recordBook.js'
import { arraysFound, scopesFound, stepRecords } from './units/results.js'
import { roomOf } from './units/room.js'
import { doShared, scopeResults } from './units/shared.js'
import { placeKey } from './units/storedDigests.js'
import { doTensors } from './units/tensors.js'
import type { Engine, OutputFiles, Part } from './units/types.js'
import { wholeWork } from './units/work.js'
import { windowMode } from './windowMode.js'

/**
 * Executes a plan: claims the paths of all outputs and does the work that tensors share, then makes the outputs in batches: all ordinary
 * ones together, and each checkpoint of an interpolation separately, so that only one of them is staged at a time.
 * A batch is computed, evaluated, described by `describe`, which makes each output's lineage, and published.
 * Checks come before all outputs. Errors: `alignment-check-failed`, those of staging, reading and commands; `interrupted` with exit
 * code 130. Leaves only what a resumed run needs.
 */
export async function executePlan(
  asked: Plan,
  askedBindings: Bindings,
  options: ExecuteOptions,
  describe: (executed: Executed) => Promise<readonly Description[]> | readonly Description[],
): Promise<void> {
  const { plan, bindings } =
    options.commands === undefined ? { plan: asked, bindings: askedBindings } : withChecks(asked, askedBindings)
  await withOutputs(plan, bindings, options, async (claimed, settled) => {
    const run = await openRun(plan, bindings, claimed, options)
    try {
      const checks = checkBook(plan)
      for (const [place, batch] of run.batches.entries()) {
        await doBatch(run, batch, bindings, options)
        if (plan.outputs[batch[0]!.output]!.check) {
          await evaluateCheck(run, batch[0]!, bindings, options, checks)
          settled(batch[0]!.output)
          continue
        }
        const executed = await finish(run, batch, bindings, options, place / run.batches.length)
        const texts = await describe({ ...executed, checks: checks.passed })
        // A picture of phases goes one way: the last batch ends it.
        if (place === run.batches.length - 1)
          options.listen({ kind: 'phase', phase: options.sync ? 'flushing' : 'publishing' })
        await publishOutputs(plan, batch, texts, run.inputs(), options, settled)
      }
    } finally {
      await run.analyses.close()
    }
  })
}

/**
 * Does the units of a batch, the first time those that several tensors need as well. The pool is closed before anything else looks at the
 * outputs, so that no thread holds files that are dropped or renamed.
 */
export async function doBatch(
  { works, journals, analyses, room, inputs, threads, mode, batches }: Run,
  batch: readonly ClaimedOutput[],
  bindings: Bindings,
  options: ExecuteOptions,
): Promise<void> {
  const { plan, signal } = works
  // Candidates of analyses are made in the files of the outputs, even if a check comes first.
  const isFirst = batch === batches[0]
  const outputs = isFirst ? batches.find(([one]) => !isCheck(plan, one!))! : batch
  const staged = outputs === batch ? batch : [...batch, ...outputs]
  // Report a full disk before the analyses, which can take long.
  await stageWeights(plan, staged, options.deliveries)
  const written = staged.flatMap(({ output, files }) =>
    files.map((path, file) => ({ path, size: plan.outputs[output]!.files[file]!.size })),
  )
  const pool = await (options.openPool ?? openPool)({
    ...{ threads, mode, signal, ...roomOf(plan) },
    kept: keptWithin(plan, threads, options.memory, mode),
    recall: recallWithin(plan, threads, options.memory, mode),
    // The work of an earlier run is read back and checked.
    inputs: [...bindings.files.map((path, file) => ({ path, size: plan.files[file]!.size })), ...written],
    outputs: written.map(({ path }) => path),
  })
  const engine: Engine = { ...works, pool }
  try {
    const files = outputFiles(plan, staged, batch)
    const statistics = () => warnOfStatistics(engine, batches, options)
    const judge = isFirst
      ? candidateJudge({ engine, batch: outputs, bindings, options, room, files: outputFiles(plan, staged, outputs) })
      : undefined
    const { streaming, deliveries } = options
    const work = { engine, analyses, files, judge, statistics, deliveries, flush: journals.flush }
    const inStages = streaming && { ...work, streaming }
    if (isFirst) {
      if (inStages) await shareInStages(inStages)
      else {
        await statistics()
        await doShared(engine, analyses, judge)
      }
      options.listen({ kind: 'phase', phase: 'merging' })
    }
    if (inStages) await mergeInStages(inStages)
    else await doTensors(engine, files, wholeWork(engine, [...files.first.keys()]))
  } catch (error) {
    // What read a mixture of two contents may have failed for that.
    if (!(error instanceof Fault)) await refuseChanged(inputs())
    throw error
  } finally {
    try {
      journals.flush()
    } finally {
      await pool.close()
    }
  }
}

/** Claims the paths of the outputs. After a failure, keeps what a resumed run needs, or nothing. */
async function withOutputs(
  plan: Plan,
  bindings: Bindings,
  { finished = () => false, force, resume, keeps = () => resume, sync, signal, before, staged, listen }: ExecuteOptions,
  work: (claimed: readonly ClaimedOutput[], settled: (output: number) => void) => Promise<void>,
): Promise<void> {
  const claimed = new Map<number, Staging>()
  const published = new Set<number>()
  try {
    const existing: Diagnostic[] = []
    for (const [index, { layout: kind }] of plan.outputs.entries()) {
      if (finished(index)) continue
      const output = bindings.outputs[index]!
      try {
        const from = staged?.(index)
        const staging = await openStaging(output, { kind, force, resume, irreplaceable, sync, from })
        claimed.set(index, staging)
        if (staging.dropped)
          listen({
            kind: 'notice',
            message: `removed what an interrupted run had done for ${output}: without --resume, a run starts again`,
          })
      } catch (error) {
        // Name all of them at once.
        if (!(error instanceof Fault) || error.diagnostics.some(({ code }) => code !== 'output-exists')) throw error
        existing.push(...error.diagnostics)
      }
    }
    if (existing.length > 0) throw new Fault(existing)
    await before?.()
    const outputs = [...claimed].map(([output, staging]) => claimedOutput(plan, output, staging))
    // From then on an output is its own: nothing of it is left to be removed.
    await work(outputs, (output) => {
      claimed.delete(output)
      published.add(output)
    })
  } catch (error) {
    // A resume needs what is there; else nothing is left. An output that was published stays: it is whole.
    // Backwards: the first one made the folders that they stand in.
    const keep = resume || keeps()
    for (const staging of [...claimed.values()].reverse())
      await (keep ? leave(staging) : discard(staging)).catch(() => {})
    const own = [...plan.outputs.entries()].filter(([, { check }]) => !check)
    const outputs = own.length
    const complete = own.filter(([index]) => finished(index) || published.has(index)).length
    throw withLeft(error, signal, { complete, outputs, resume })
  }
}

/** The number of threads, and how inputs are read. Emits a notice if this differs from what the user requested. */
function usedThreads(plan: Plan, { threads: asked, memory, listen }: ExecuteOptions, mode: WindowMode): number {
  const useful = usefulThreads(plan, asked)
  const threads = threadsWithin(plan, useful, memory, mode)
  if (threads < useful)
    listen({ kind: 'notice', message: `--memory is enough for ${threads} of ${useful} threads: using ${threads}` })
  if (mode === 'read' && defaultMode() === 'map')
    listen({
      kind: 'notice',
      message: 'TERGE_IO=map: memory-mapped files are unsupported on this platform; reading files instead',
    })
  return threads
}

const isCheck = ({ outputs }: Plan, { output }: ClaimedOutput): boolean => outputs[output]!.check !== undefined

/** The state that all batches of a run share. */
export interface Run {
  readonly works: Omit<Engine, 'pool'>
  readonly journals: Journals
  readonly analyses: AnalysisRoom
  readonly room: Candidates['room']
  readonly threads: number
  readonly mode: WindowMode
  /** The states of all inputs, except for files that are not there. */
  readonly inputs: () => readonly InputState[]
  readonly batches: readonly (readonly ClaimedOutput[])[]
}

/** Prepares kernels, journals and records. */
export async function openRun(
  plan: Plan,
  bindings: Bindings,
  claimed: readonly ClaimedOutput[],
  options: ExecuteOptions,
  {
    part,
    ...given
  }: { readonly part?: Part; readonly journals?: (inputs: () => readonly InputState[]) => Journals } = {},
): Promise<Run> {
  const { listen, digests: wanted, signal, finished = () => false, streaming } = options
  const mode = windowMode()
  const threads = usedThreads(plan, options, mode)
  const brought = new Set(bindings.files.filter((_, file) => streaming?.supply.brings(file)))
  const kept = await completeStates(bindings.inputs.filter(({ path }) => !brought.has(path)))
  // What was dropped was checked then.
  const inputs = () => [...kept, ...(streaming?.supply.states() ?? [])]
  const units = planUnits(plan)
  const counts = options.ends && fileCounts(plan, units, claimed, options.ends)
  const digests = inputDigests(units.stored, wanted, (number, digest) => {
    counts?.stored(number)
    const { file, ...place } = units.stored.placeOf(number)
    const identity = streaming?.supply.identityOf(file)
    if (identity !== undefined) journals.note(identity, { ...place, digest })
  })
  // The last one has what all outputs share: not a check, which is removed first.
  const ordered = [...claimed].sort((a, b) => Number(isCheck(plan, b)) - Number(isCheck(plan, a)))
  const journals = given.journals?.(inputs) ?? openJournals(ordered, () => areUnchanged(inputs()))
  for (const [stored, digest] of options.known ?? []) digests.know(stored, digest)
  for (const number of streaming ? units.stored.numbers() : []) {
    const { file, ...place } = units.stored.placeOf(number)
    const digest = journals.stored.get(streaming?.supply.identityOf(file) ?? '')?.get(placeKey(place))
    if (digest !== undefined) digests.know(number, digest)
  }
  const records = recordBook(units, digests, (unit, record) => {
    journals.add(unit.makes[0]?.output, record)
    counts?.made(unit)
  })
  const shelf = factorShelf(plan)
  const module = await compileKernels()
  const room: Run['room'] = (records, shelf) => {
    const findings: Findings = {
      maps: (...given) => analyses.maps(...given),
      computed: (...given) => analyses.computed(...given),
      factor: shelf.take,
      scope(index) {
        const record = records.shared({ kind: 'scope', index })
        return record ? scopeResults(record) : []
      },
    }
    const analyses = analysisRoom({
      ...{ plan, threads, listen, signal, findings, module },
      files: bindings.files,
      folder: ordered.at(-1)?.staging.folder,
      memory: analysesBudget(plan, threads, options.memory, mode),
      recordOf: (index) => records.shared({ kind: 'analysis', index }),
      earlier: options.earlier,
    })
    return { findings, analyses }
  }
  const { findings, analyses } = room(records, shelf)
  const works: Run['works'] = {
    ...{ plan, units, digests, records, findings, shelf, listen, signal, part, left: options.left },
    kernels: await smallKernels(),
    claims: wanted ? claimsOf([...journals.found, ...(options.records ?? [])], journals.tiles) : claimsOf([]),
    ...{ noteTiles: journals.addTiles, rangeBytes: options.rangeBytes },
    notePart: given.journals ? undefined : (record) => journals.add(undefined, record),
    progress: runProgress(plan, threads, listen, finished, part?.cost),
  }
  const byOutput = new Map(claimed.map((one) => [one.output, one]))
  const batches = batchesOf(plan, [...byOutput.keys()]).map((batch) => batch.map((output) => byOutput.get(output)!))
  return { works, journals, analyses, room, threads, mode, inputs, batches }
}

/** The files of `own`, among those of all staged outputs. */
function outputFiles({ files }: Plan, staged: readonly ClaimedOutput[], own: readonly ClaimedOutput[]): OutputFiles {
  const first = new Map<number, number>()
  let next = 0
  for (const one of staged) {
    if (own.includes(one)) first.set(one.output, next)
    next += one.files.length
  }
  return { readable: files.length, first, paths: staged.flatMap((one) => one.files) }
}

async function warnOfStatistics(
  engine: Engine,
  batches: readonly (readonly ClaimedOutput[])[],
  { listen, signal }: ExecuteOptions,
): Promise<void> {
  const { pool, kernels } = engine
  const { part } = engine
  // What finds something for all parts checks everything, and so does what publishes their outputs. A part checks what it merges.
  const owns = part && !part.finds ? part.owns : () => true
  const outputs = batches.flat().map(({ output }) => {
    const own = engine.plan.outputs[output]!
    return { ...own, tensors: own.tensors.filter((_, tensor) => owns(output, tensor)) }
  })
  const plan = { ...engine.plan, outputs }
  const doubts = await checkStatistics(plan, pool, { math: kernels.math, ...(signal ? { signal } : {}) })
  refuseInterrupted(signal)
  // That all of a model's statistics are 0 is only known where all are read.
  if (!part || part.finds) for (const diagnostic of doubts) listen({ kind: 'warning', diagnostic })
}

/** Evaluates a checkpoint of a check, and removes it. Error: `alignment-check-failed`. */
async function evaluateCheck(
  { works: { plan } }: Run,
  one: ClaimedOutput,
  bindings: Bindings,
  options: ExecuteOptions,
  checks: CheckBook,
): Promise<void> {
  const output = plan.outputs[one.output]!
  await stageBeside(output, one.staging, bindings, undefined)
  const figures = await evaluate(output, one, options, 0)
  await discard(one.staging)
  checks.add(output, figures ?? {})
}

/** Writes the small files beside a batch's weights, evaluates the outputs, and gathers what was found out. */
export async function finish(
  { works: { plan, units, records, digests, kernels } }: Run,
  batch: readonly ClaimedOutput[],
  bindings: Bindings,
  options: ExecuteOptions,
  fraction: number,
): Promise<Executed> {
  const steps = stepRecords(plan, records)
  const outputs = batch.map(({ output, files }) => ({
    ...{ output, files },
    records: plan.outputs[output]!.tensors.map((_, tensor) => records.tensor(output, tensor)!),
  }))
  const warnings = outputs.flatMap(({ output, records }) => remarkDiagnostics(plan.outputs[output]!, records))
  if (options.strict) refuseNonFinite(warnings)
  for (const diagnostic of warnings) options.listen({ kind: 'warning', diagnostic })
  const executed: ExecutedOutput[] = []
  for (const [index, one] of batch.entries()) {
    const output = plan.outputs[one.output]!
    const beside = await stageBeside(output, one.staging, bindings, options.digests ? kernels : undefined)
    const evaluations = await evaluate(output, one, options, fraction)
    executed.push({ ...outputs[index]!, beside, ...(evaluations ? { evaluations } : {}) })
  }
  return {
    ...{ outputs: executed, steps, kernels },
    scopes: scopesFound(plan, records),
    found: (step) => arraysFound(plan, records, step),
    inputs: (file) =>
      plan.files[file]!.tensors.map((place) => digests.get(units.stored.numberOf({ file, ...place })) ?? null),
    records: () => records.all(),
  }
}
