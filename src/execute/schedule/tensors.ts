import type { Diagnostic } from '../../core/diagnostics.js'
import { type Kernels, treeDigest } from '../../kernels/index.js'
import type { Plan } from '../../plan/types.js'
import type { FactorFigures } from '../../steps/extract/record.js'
import { type DigestDuty, type Job, leafKey, noDuty } from '../compile/job.js'
import { compileDigest, compileFactoring, compileTensor } from '../compile/tensor.js'
import type { Listener } from '../events.js'
import type { Findings } from '../findings.js'
import { finishedEntries } from '../finished.js'
import type { StagedOutput } from '../journal.js'
import { leafDigests } from '../leafDigests.js'
import { openPool } from '../pools/threads.js'
import type { PoolSetup } from '../pools/types.js'
import { type OutputRemarks, type Remarks, remarksOf } from '../remarks.js'
import { windowMode } from '../windowMode.js'
import { extractionRecords, factorShelf } from './factorings.js'
import { schedule } from './schedule.js'
import { findScopes, scopePrograms } from './scopes.js'
import { checkStatistics } from './statistics.js'

export interface MergeOptions {
  readonly threads: number
  readonly digests: boolean
  /** Digests of the inputs that earlier calls found, by leaf key: they are not made again. New ones are added. */
  readonly known: Map<string, string>
  /** Statistics that earlier calls looked through. */
  readonly checked: Set<string>
  readonly warn: (diagnostic: Diagnostic) => void
  readonly progress: RunProgress
  readonly signal?: AbortSignal
}

/** Digests of tensor data; null where the run leaves digests out. */
export interface MergeResult {
  /** By output, by tensor. */
  readonly outputs: readonly (readonly (string | null)[])[]
  /** By output. */
  readonly remarks: readonly OutputRemarks[]
  /** Of the inputs, by leaf key. */
  readonly inputs: ReadonlyMap<string, string>
  /** By scope of the plan, what its passes found. */
  readonly scopes: Findings['scopes']
  /** By extraction, what the lineage tells of it. */
  readonly records: Findings['records']
}

/** Computes all tensors of all outputs into the staged files. `inputs` are the absolute paths of `plan.files`. */
export async function mergeTensors(
  plan: Plan,
  inputs: readonly string[],
  staged: readonly StagedOutput[],
  kernels: Kernels,
  findings: Findings,
  options: MergeOptions,
): Promise<MergeResult> {
  const { threads, known: found, progress, signal } = options
  const files = [
    ...inputs.map((path, index) => ({ path, size: plan.files[index]!.size })),
    // What an earlier run finished is read back before it is believed.
    ...staged.flatMap(({ files }, output) =>
      files.map((path, file) => ({ path, size: plan.outputs[output]!.files[file]!.size })),
    ),
  ]
  const outputs = plan.outputs.map(({ tensors }): (string | null)[] => tensors.map(() => null))
  const remarks = plan.outputs.map(() => new Map<number, Remarks>())
  const bases = outputBases(plan)
  const shelf = factorShelf(plan)
  const pool = await openPool({
    threads,
    mode: windowMode(),
    inputs: files,
    outputs: staged.flatMap(({ files }) => files),
    ...roomOf(plan, bases, findings),
    signal,
  })
  let scopes: Findings['scopes'] = []
  try {
    const done = await finishedEntries(plan, staged, { firstOutput: inputs.length, bases, pool, kernels, signal })
    const duty: DigestDuty = { enabled: options.digests, taken: new Set(found.keys()) }
    for (const { output, entry } of done) {
      outputs[output]![entry.tensor] = entry.digest
      const told = remarksOf(entry)
      if (told) remarks[output]!.set(entry.tensor, told)
      for (const [key, digest] of Object.entries(entry.inputs)) {
        duty.taken.add(key)
        found.set(key, digest)
      }
      const { expr } = plan.outputs[output]!.tensors[entry.tensor]!
      if (expr.kind === 'factor' && entry.figures) shelf.figures.set(expr.factoring, entry.figures)
    }
    const written = done.reduce((sum, { output, entry }) => sum + plan.outputs[output]!.tensors[entry.tensor]!.bytes, 0)
    progress.begin(written, done.length)
    const shared = { math: kernels.math, ...(signal ? { signal } : {}), progress: progress.bytes }
    const doubts = await checkStatistics(plan, pool, { ...shared, checked: options.checked })
    for (const doubt of doubts) options.warn(doubt)
    // Again on a resume: what is left needs them, and so does the lineage.
    scopes = await findScopes(plan, pool, findings, shared)
    const known = { ...findings, scopes, factor: shelf.take }
    const isDone = (output: number, tensor: number): boolean => outputs[output]![tensor] !== null
    const uses = usesOfFactorings(plan, isDone)
    function* jobs(): Generator<Job> {
      yield* jobsOf(plan, bases, duty, known, isDone)
      if (options.digests) yield* unusedJobs(plan, duty)
    }
    await schedule(jobs(), pool, {
      ...shared,
      finished(_, result, job) {
        progress.tensor(job.target !== undefined)
        const own = options.digests ? leafDigests(job, result, kernels) : {}
        for (const [key, digest] of Object.entries(own)) found.set(key, digest)
        if (job.finds) {
          const { factoring, at } = job.finds
          shelf.put(factoring, result.memory!, at, uses.get(factoring) ?? 0, own)
          progress.found(plan, factoring, shelf.figures.get(factoring)!)
        }
        if (!job.target) return
        const { output, tensor } = job.target
        const told = remarksOf(result)
        if (told) remarks[output]!.set(tensor, told)
        if (!options.digests) return
        const figures = job.needs === undefined ? undefined : shelf.figures.get(job.needs)
        const inputs = job.needs === undefined ? own : shelf.inputsOf(job.needs)
        const digest = treeDigest(kernels, result.output!, plan.outputs[output]!.tensors[tensor]!.bytes)
        outputs[output]![tensor] = digest
        staged[output]!.journal.add({ tensor, digest, inputs, ...told, ...(figures ? { figures } : {}) })
      },
    })
    progress.end()
  } finally {
    await pool.close()
  }
  const records = signal?.aborted ? new Map() : extractionRecords(plan, shelf.figures)
  return { outputs, remarks, inputs: found, scopes, records }
}

/** By output, the index of its first file among all output files. */
function outputBases(plan: Plan): number[] {
  let next = 0
  return plan.outputs.map(({ files }) => {
    const base = next
    next += files.length
    return base
  })
}

/** What a pool must have room for. Programs are made for that alone, one after another. */
function roomOf(
  plan: Plan,
  bases: readonly number[],
  findings: Findings,
): Pick<PoolSetup, 'leaves' | 'reach'> & { held: number } {
  // Statistics are looked at beside themselves.
  const room = { leaves: 2, reach: 0, held: 0 }
  const add = ({ leaves, rowLength, held }: Job['program']): void => {
    room.leaves = Math.max(room.leaves, leaves.length)
    room.reach = Math.max(room.reach, rowLength)
    room.held = Math.max(room.held, held?.bytes ?? 0)
  }
  for (const { program } of jobsOf(plan, bases, noDuty(), findings)) add(program)
  for (const program of scopePrograms(plan, findings)) add(program)
  return room
}

/** How many tensors that are still to be made take of each factoring. */
function usesOfFactorings(plan: Plan, done: (output: number, tensor: number) => boolean): Map<number, number> {
  const uses = new Map<number, number>()
  for (const [output, { tensors }] of plan.outputs.entries())
    for (const [index, { expr }] of tensors.entries())
      if (expr.kind === 'factor' && !done(output, index)) uses.set(expr.factoring, (uses.get(expr.factoring) ?? 0) + 1)
  return uses
}

function* jobsOf(
  plan: Plan,
  bases: readonly number[],
  duty: DigestDuty,
  findings: Findings,
  done: (output: number, tensor: number) => boolean = () => false,
): Generator<Job> {
  const factored = new Set<number>()
  for (const [output, { tensors }] of plan.outputs.entries())
    for (const [index, tensor] of tensors.entries()) {
      if (done(output, index)) continue
      const job = compileTensor(plan, tensor, bases[output]! + tensor.file, duty, findings, { output, tensor: index })
      if (job.needs !== undefined && !factored.has(job.needs)) {
        factored.add(job.needs)
        yield compileFactoring(plan, job.needs, duty, findings)
      }
      yield job
    }
}

/** Digests of files are over all of their tensors: those that no output uses are read for that alone. */
function* unusedJobs(plan: Plan, duty: DigestDuty): Generator<Job> {
  for (const [file, { tensors }] of plan.files.entries())
    for (const { offset, bytes } of tensors) {
      const key = leafKey({ file, offset, bytes })
      if (duty.taken.has(key)) continue
      duty.taken.add(key)
      yield compileDigest(file, offset, bytes)
    }
}

/** Events at most this often, in milliseconds. */
const EVERY = 100

/** Tells how far a run is, over all of its batches. */
export interface RunProgress {
  /** A batch begins: bytes written and tensors finished that an earlier run left. */
  readonly begin: (done: number, tensors: number) => void
  readonly bytes: (read: number, written: number) => void
  readonly tensor: (made: boolean) => void
  /** A factoring is done. */
  readonly found: (plan: Plan, factoring: number, figures: FactorFigures) => void
  readonly end: () => void
}

/** Progress of all of a plan's outputs; `finished` says which of them an earlier run published. */
export function runProgress(
  plan: Plan,
  threads: number,
  listen: Listener,
  finished: (output: number) => boolean,
): RunProgress {
  const before = plan.outputs.filter((_, index) => finished(index)).flatMap(({ tensors }) => tensors)
  let read = 0
  let written = before.reduce((sum, { bytes }) => sum + bytes, 0)
  let tensors = before.length
  let begun = false
  let last = 0
  const total = plan.outputs.reduce((sum, output) => sum + output.tensors.length, 0)
  const tell = () => listen({ kind: 'progress', read, written, tensors })
  return {
    begin(done, more) {
      written += done
      tensors += more
      if (!begun)
        listen({ kind: 'start', read: plan.cost.read, write: plan.cost.write, tensors: total, threads, done: written })
      begun = true
    },
    bytes(more, out) {
      read += more
      written += out
      const now = performance.now()
      if (now - last < EVERY) return
      last = now
      tell()
    },
    tensor(made) {
      if (made) tensors++
    },
    found(plan, factoring, [squares, , kept]) {
      const { step, tensor, work } = plan.factorings[factoring]!
      const energy = squares > 0 ? `${((100 * kept) / squares).toFixed(1)} % of the difference kept` : 'no difference'
      const fraction = (factoring + 1) / plan.factorings.length
      listen({ kind: 'step', step, text: `${tensor}: rank ${work.options.rank}, ${energy}`, fraction })
    },
    end: tell,
  }
}
