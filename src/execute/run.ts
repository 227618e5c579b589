import path from 'node:path'
import { OUTPUT } from '../checkpoints/containers/index.js'
import { irreplaceable } from '../checkpoints/replaceable.js'
import { readSidecar } from '../checkpoints/sidecars.js'
import { fault } from '../core/diagnostics.js'
import { bytesDigest, compileKernels, type Kernels, smallKernels } from '../kernels/index.js'
import type { Plan, PlanOutput } from '../plan/types.js'
import type { StepRecord } from '../steps/index.js'
import { completeStates, type InputState, refuseChanged } from '../storage/local/inputStates.js'
import { lineageName as nameBeside } from '../storage/local/recover.js'
import { changeOf, stagedStates } from '../storage/local/stagedStates.js'
import {
  discard,
  dropWeights,
  leave,
  openStaging,
  preallocate,
  publish,
  type Staging,
  stageFile,
} from '../storage/local/staging.js'
import { defaultMode } from '../storage/local/window.js'
import { analyse } from './analyse.js'
import { analysesBudget, threadsWithin, usefulThreads } from './budget.js'
import { type Figures, runCommand } from './commands/command.js'
import type { Listener } from './events.js'
import type { Findings } from './findings.js'
import { refuseInterrupted } from './interrupted.js'
import { openJournal, type StagedOutput } from './journal.js'
import { type OutputRemarks, refuseNonFinite, remarkDiagnostics } from './remarks.js'
import { mergeTensors, type RunProgress, runProgress } from './schedule/tensors.js'
import { windowMode } from './windowMode.js'

/** Where a plan's files lie on this machine: absolute paths. Never part of a plan. */
export interface Bindings {
  /** By `Plan.files`. */
  readonly files: readonly string[]
  /** By `Plan.models`: file or folder. */
  readonly models: readonly string[]
  /** By `Plan.outputs`. */
  readonly outputs: readonly string[]
  /** Everything that is read, as it was when the plan was made: weights by `Plan.files`, and small files. */
  readonly inputs: readonly InputState[]
}

export interface ExecuteOptions {
  readonly threads: number
  /** Bound of anonymous memory in bytes, all threads together. */
  readonly memory: number
  readonly resume: boolean
  readonly force: boolean
  readonly sync: boolean
  readonly digests: boolean
  /** Results that are not finite where their inputs are end the run. */
  readonly strict: boolean
  /** By `Plan.outputs`: an earlier run published it, and nothing is done for it. */
  readonly finished?: (output: number) => boolean
  /** Where given, `evaluate` commands run, in this folder; else they are left out. */
  readonly commands?: string
  /** What is to be done once the outputs' places are claimed, before inputs are read: it may take long, or refuse. */
  readonly before?: () => Promise<void>
  readonly listen: Listener
  readonly signal?: AbortSignal
}

/** A small file that stands beside the weights. */
export interface Beside {
  readonly name: string
  readonly size: number
  readonly digest: string | null
}

/** What the run found out of some of its outputs; the caller makes the lineages of them. */
export interface Executed {
  /** The plan with these outputs alone. */
  readonly plan: Plan
  /** Of the inputs' tensors, by `FILE:OFFSET:BYTES`. */
  readonly inputs: ReadonlyMap<string, string>
  readonly outputs: readonly {
    /** By `PlanOutput.tensors`. */
    readonly tensors: readonly (string | null)[]
    readonly remarks: OutputRemarks
    /** Index, config and tokenizer files. */
    readonly beside: readonly Beside[]
    /** Of the checkpoint's files, absolute, while they are staged. */
    readonly files: readonly string[]
    /** Where a command evaluated it. */
    readonly evaluations?: Figures
  }[]
  /** By step, what an analysis found: permutations' digests, scores, what was repaired. */
  readonly steps: ReadonlyMap<string, StepRecord>
  /** By scope of the plan, what its passes found. */
  readonly scopes: Findings['scopes']
  readonly kernels: Kernels
}

/** What is written of an output for people and programs: its lineage, and the model card of a folder. */
export interface Description {
  /** In pieces, to be gone through once. */
  readonly lineage: Iterable<string>
  /** Asked for when the lineage has been written. */
  readonly card: () => string
}

/** The name of an output's lineage, in its folder or beside its file. */
export const lineageName = (layout: PlanOutput['layout'], output: string): string =>
  layout === 'folder' ? 'lineage.json' : nameBeside(path.basename(output))

/**
 * Executes a plan: claims the places of all outputs and does the analyses, then makes the outputs in batches: all ordinary ones
 * together, and each point of an interpolation by itself, so that no more of the path is staged than one checkpoint.
 * A batch is computed, evaluated, described by `describe`, which writes each output's lineage, and published.
 * Faults: those of staging, reading and commands; `interrupted` with exit 130. Nothing stays behind but what a resume needs.
 */
export async function executePlan(
  plan: Plan,
  bindings: Bindings,
  options: ExecuteOptions,
  describe: (executed: Executed) => Promise<readonly Description[]> | readonly Description[],
): Promise<void> {
  const { listen, finished = () => false, force, resume, sync } = options
  const mode = windowMode()
  const useful = usefulThreads(plan, options.threads)
  const threads = threadsWithin(plan, useful, options.memory, mode)
  if (threads < useful)
    listen({ kind: 'notice', message: `--memory has room for ${threads} of ${useful} threads: using ${threads}` })
  if (mode === 'read' && defaultMode() === 'map')
    listen({ kind: 'notice', message: 'TERGE_IO=map: files cannot be mapped on this platform, reading them instead' })
  const claimed = new Map<number, Staging>()
  let close = async () => {}
  try {
    for (const [index, output] of plan.outputs.entries())
      if (!finished(index))
        claimed.set(
          index,
          await openStaging(bindings.outputs[index]!, { kind: output.layout, force, resume, irreplaceable, sync }),
        )
    await options.before?.()
    const inputs = await completeStates(bindings.inputs)
    const module = await compileKernels()
    const batches = batchesOf(plan, finished)
    // What has no room on the disk is told before the analyses, which may take long.
    const first = await prepareBatch(plan, inputs, batches[0] ?? [], claimed)
    const memory = analysesBudget(plan, threads, options.memory, mode)
    const analysed = await analyse(plan, bindings.files, module, { ...options, threads, memory })
    close = analysed.close
    refuseInterrupted(options.signal)
    const run: Run = {
      bindings,
      inputs,
      options: { ...options, threads },
      findings: analysed.findings,
      kernels: await smallKernels(),
      known: new Map(),
      checked: new Set(),
      progress: runProgress(plan, threads, listen, finished),
    }
    listen({ kind: 'phase', phase: 'merging' })
    for (const [place, indexes] of batches.entries()) {
      const batch = place === 0 ? first : await prepareBatch(plan, inputs, indexes, claimed)
      const texts = await describe(await fill(batch, run, place / batches.length))
      // A picture of phases goes one way: the last batch ends it.
      if (place === batches.length - 1) listen({ kind: 'phase', phase: options.sync ? 'flushing' : 'publishing' })
      // From here on an output is its own: nothing of it is left to be removed.
      await release(batch, texts, run, (index) => claimed.delete(indexes[index]!))
    }
  } catch (error) {
    // A resume needs what is there; else nothing is left. An output that was published stays: it is whole.
    // Backwards: the first one made the folders that they stand in.
    for (const staging of [...claimed.values()].reverse())
      await (resume ? leave(staging) : discard(staging)).catch(() => {})
    throw error
  } finally {
    await close()
  }
}

/** Indexes of outputs that are made together. */
function batchesOf({ outputs }: Plan, finished: (output: number) => boolean): number[][] {
  const open = [...outputs.keys()].filter((index) => !finished(index))
  const together = open.filter((index) => !outputs[index]!.point)
  const alone = open.filter((index) => outputs[index]!.point).map((index) => [index])
  return together.length > 0 ? [together, ...alone] : alone
}

/** What all batches share. */
interface Run {
  readonly bindings: Bindings
  readonly inputs: readonly InputState[]
  readonly options: ExecuteOptions
  readonly findings: Findings
  readonly kernels: Kernels
  readonly known: Map<string, string>
  readonly checked: Set<string>
  readonly progress: RunProgress
}

interface Batch {
  /** With the batch's outputs alone. */
  readonly plan: Plan
  /** By the batch's outputs. */
  readonly stagings: readonly Staging[]
  readonly staged: readonly StagedOutput[]
}

async function prepareBatch(
  plan: Plan,
  inputs: readonly InputState[],
  indexes: readonly number[],
  claimed: ReadonlyMap<number, Staging>,
): Promise<Batch> {
  const stagings = indexes.map((index) => claimed.get(index)!)
  const outputs = indexes.map((index) => plan.outputs[index]!)
  const staged: StagedOutput[] = []
  for (const [index, staging] of stagings.entries()) {
    const output = outputs[index]!
    const files = output.files.map((file) => ({
      ...file,
      name: output.layout === 'file' ? path.basename(staging.output) : file.name,
      header: OUTPUT.write.encode(file.header),
    }))
    await preallocate(staging, files)
    staged.push({
      files: files.map(({ name }) => path.join(staging.files, name)),
      journal: openJournal(staging.journal, plan, output, inputs, staging.resumed),
    })
  }
  return { plan: { ...plan, outputs }, stagings, staged }
}

/** Computes a batch's outputs, writes the small files beside them, evaluates them, and gathers what was found out. */
async function fill({ plan, stagings, staged }: Batch, run: Run, fraction: number): Promise<Executed> {
  const { bindings, options, findings, kernels, known, checked, progress } = run
  const { threads, digests, signal } = options
  const merged = await mergeTensors(plan, bindings.files, staged, kernels, findings, {
    threads,
    digests,
    known,
    checked,
    warn: (diagnostic) => options.listen({ kind: 'warning', diagnostic }),
    progress,
    ...(signal ? { signal } : {}),
  })
  refuseInterrupted(signal)
  const warnings = plan.outputs.flatMap((output, index) => remarkDiagnostics(output, merged.remarks[index]!))
  if (options.strict) refuseNonFinite(warnings)
  for (const diagnostic of warnings) options.listen({ kind: 'warning', diagnostic })
  const outputs: Executed['outputs'][number][] = []
  for (const [index, output] of plan.outputs.entries()) {
    const staging = stagings[index]!
    const beside: Beside[] = []
    for (const { name, content } of await smallFiles(output, bindings)) {
      await stageFile(staging, name, content)
      beside.push({ name, size: content.length, digest: digests ? bytesDigest(kernels, content) : null })
    }
    const { files } = staged[index]!
    const evaluations = await evaluate(output, staging, files[0]!, options, fraction)
    const [tensors, remarks] = [merged.outputs[index]!, merged.remarks[index]!]
    outputs.push({ tensors, remarks, beside, files, ...(evaluations ? { evaluations } : {}) })
  }
  const steps = new Map([...findings.records, ...merged.records])
  return { plan, inputs: merged.inputs, outputs, steps, scopes: merged.scopes, kernels }
}

async function evaluate(
  output: PlanOutput,
  { files }: Staging,
  single: string,
  { commands, listen, signal }: ExecuteOptions,
  fraction: number,
): Promise<Figures | undefined> {
  if (!output.evaluate || commands === undefined) return undefined
  const text = output.point ? `evaluating ${output.point.name}` : 'evaluating'
  listen({ kind: 'step', step: output.from, text, ...(output.point ? { fraction } : {}) })
  const model = output.layout === 'file' || output.single ? single : files
  const before = await stagedStates(files)
  const figures = await runCommand(output.evaluate, { folder: commands, model, ...(signal ? { signal } : {}) })
  const change = changeOf(before, await stagedStates(files))
  if (change === undefined) return figures
  throw fault(
    'evaluate-failed',
    `${output.evaluate.command.join(' ')}: ${change}: an evaluation may read the result, and not change it`,
    'have the command work on a copy',
    1,
  )
}

/** Gives a batch's outputs their names. */
async function release(
  { plan, stagings }: Batch,
  texts: readonly Description[],
  run: Run,
  published: (index: number) => void,
): Promise<void> {
  const { listen, sync, signal } = run.options
  for (const [index, staging] of stagings.entries()) {
    const { keep, layout } = plan.outputs[index]!
    if (!keep) await dropWeights(staging)
    const { lineage, card } = texts[index]!
    await stageFile(staging, lineageName(layout, staging.output), lineage)
    if (layout === 'folder' && keep) await stageFile(staging, 'README.md', card())
  }
  refuseInterrupted(signal)
  await refuseChanged(run.inputs)
  for (const [index, staging] of stagings.entries()) {
    await publish(staging, { sync })
    published(index)
    const { files, tensors, keep } = plan.outputs[index]!
    const bytes = keep ? files.reduce((sum, file) => sum + file.size, 0) : 0
    listen({ kind: 'output', path: staging.output, bytes, tensors: keep ? tensors.length : 0 })
  }
}

/** What stands beside an output's weights: indexes, configuration, tokenizer. Fault: `input-changed`. */
export async function smallFiles(
  output: PlanOutput,
  bindings: Pick<Bindings, 'models'>,
): Promise<{ name: string; content: Uint8Array }[]> {
  const encoder = new TextEncoder()
  const files = output.indexes.map(({ name, text }) => ({ name, content: encoder.encode(text) }))
  for (const sidecar of output.sidecars) {
    if (sidecar.kind === 'text') files.push({ name: sidecar.name, content: encoder.encode(sidecar.text) })
    else {
      const folder = bindings.models[sidecar.model]!
      const content = await readSidecar(folder, sidecar.name, path.join(folder, sidecar.name)).catch((error: Error) => {
        throw fault('input-changed', error.message, 'run again when nothing writes to the model', 1)
      })
      files.push({ name: sidecar.name, content: new Uint8Array(content) })
    }
  }
  return files
}
