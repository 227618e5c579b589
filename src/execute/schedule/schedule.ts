import { type ScalarMath, TILE } from '../../kernels/types.js'
import type { Passes, PassInput, ReducePass, Table } from '../../methods/types.js'
import { bandTiles } from '../../views/bands.js'
import { type Values, withValues } from '../../views/readers.js'
import { keptTiles } from '../../views/transposed.js'
import type { ComputedLeaf, Job } from '../compile/job.js'
import type { Pool, TeamResult } from '../pools/types.js'
import { type Pass, type Program, passElements, type TaskResult, type TaskTable, type Work } from '../program.js'
import { type Gathering, gather } from './combine.js'
import {
  contains,
  digestedIn,
  digestsAt,
  digestsSize,
  givenDigest,
  rangesOf,
  resultOf as resultOfRange,
  type Span,
  seenBy,
  type TileRange,
  without,
} from './ranges.js'
import { passesFor } from './rules.js'

/** The results of a finished job. */
export interface JobResult {
  /** By leaf that the job digests: its leaf digests, 16 bytes each. */
  readonly leaves: ReadonlyMap<number, Uint8Array>
  readonly output?: Uint8Array
  /** By pass; empty if a pass has none or was skipped. */
  readonly results: readonly Float64Array[]
  /** Number of results that are not finite although all inputs are. */
  readonly nonFinite: number
  /** What was done where methods' formulas are not defined. */
  readonly notes: readonly string[]
  /** For a job with work on whole matrices: the team's memory with its result, valid until other such work begins. */
  readonly memory?: ArrayBufferLike
}

export interface ScheduleOptions {
  readonly math: ScalarMath
  /** Computes the values of a leaf that is not in a file; absent if no job has such leaves. */
  readonly values?: (from: ComputedLeaf['from']) => Promise<Values>
  /** Called when a job is finished; jobs finish in any order. `index`: its position among all jobs. */
  readonly finished: (index: number, result: JobResult, job: Job) => void
  /** Called for each finished task. */
  readonly progress: (read: number, written: number, job: Job) => void
  readonly signal?: AbortSignal
  /** Called with a leaf that a pass has digested completely, before the next pass begins. */
  readonly digested?: (job: Job, leaf: number, digests: Uint8Array) => void
  readonly keep?: KeepRanges
}

/** Records ranges of tiles of jobs that are under way. */
export interface KeepRanges {
  /** After how many bytes, read and written, of a job. When the run stops, all are recorded. */
  readonly every: number
  /** False if they cannot be recorded yet. */
  readonly keep: (job: Job, pass: number, ranges: () => readonly TileRange[]) => boolean
}

/** Number of concurrent jobs: enough to keep threads busy at the end of a reduce pass, few enough to keep pages in the cache. */
const WINDOW = 16

interface Active {
  readonly index: number
  readonly job: Job
  /** By merge. */
  readonly passes: readonly Passes[]
  readonly tiles: number
  readonly tilesPerTask: number
  pass: number
  /** Tiles of this pass that are to be sent, and those that are not done. */
  unsent: readonly Span[]
  unfinished: readonly Span[]
  /** Results of this pass that are not recorded, and their bytes; the bytes of the whole job so far. */
  fresh: TaskResult[]
  freshBytes: number
  bytes: number
  coefficients: Work['coefficients']
  tables: readonly (Table | undefined)[]
  gathering: Gathering | undefined
  readonly results: Float64Array[]
  readonly digests: Map<number, Uint8Array>
  output: Uint8Array | undefined
  nonFinite: number
  readonly notes: Set<string>
  memory: ArrayBufferLike | undefined
}

/**
 * Runs all jobs on the pool. Requests each job when it can start, and drops it when it is finished: a model can have a million tensors.
 * Tiles of a pass run in any order on any thread. Results go to fixed positions or are added in the order of tiles, so the order of
 * execution does not change them.
 */
export async function schedule(jobs: Iterable<Job>, pool: Pool, options: ScheduleOptions): Promise<void> {
  const active: Active[] = []
  const waiting = new Set<Promise<void>>()
  const source = jobs[Symbol.iterator]()
  let coming = source.next()
  let next = 0
  let failure: unknown
  let preparing = false

  function nextTask(): { state: Active; task: Work } | undefined {
    for (;;) {
      const state = active.find((state) => state.unsent.length > 0)
      if (state) return { state, task: takeTask(state) }
      if (coming.done || active.length >= WINDOW || preparing) return undefined
      const job = coming.value
      // There is room for the matrices of one.
      if (job.program.held && active.some((other) => other.job.program.held)) return undefined
      if (active.some(({ job: { finds } }) => finds && job.needs?.includes(finds.factoring))) return undefined
      coming = source.next()
      if (job.computed) prepareJob(next++, job, job.computed)
      else begin(open(next++, job, pool))
    }
  }

  function begin(opened: Active): void {
    // A tensor without elements has no tiles: it is finished at once.
    if (opened.tiles > 0 && openPass(opened, options)) active.push(opened)
    else options.finished(opened.index, resultOf(opened), opened.job)
  }

  /** One at a time: what is computed for a job is large. */
  function prepareJob(index: number, job: Job, computed: readonly ComputedLeaf[]): void {
    preparing = true
    const running: Promise<void> = withComputed(job.program, computed, options.values)
      .then((program) => begin(open(index, { ...job, program }, pool)))
      .catch((error: unknown) => {
        failure ??= error
      })
      .finally(() => {
        preparing = false
        waiting.delete(running)
      })
    waiting.add(running)
  }

  function receive(state: Active, result: TaskResult | TeamResult): void {
    collect(state, result)
    options.progress(result.read, result.written, state.job)
    if (options.keep && state.job.done) freshen(state, result, options.keep)
    if (state.unfinished.length > 0) return
    closePass(state, options)
    if (openPass(state, options)) return
    active.splice(active.indexOf(state), 1)
    options.finished(state.index, resultOf(state), state.job)
  }

  const stopped = () => failure !== undefined || options.signal?.aborted
  for (;;) {
    while (!stopped() && waiting.size < pool.capacity) {
      const item = nextTask()
      if (!item) break
      const { program } = item.state.job
      const alone = program.passes[item.task.pass]!.kind !== 'solve'
      const running: Promise<void> = (alone ? pool.run(item.task) : pool.together(item.task))
        .then((result) => receive(item.state, result))
        .catch((error: unknown) => {
          // Who waits is sent away by an abort: no failure.
          if (!options.signal?.aborted) failure ??= error
        })
        .finally(() => waiting.delete(running))
      waiting.add(running)
    }
    if (waiting.size === 0) break
    await Promise.race(waiting)
  }
  const unkept = stopped() ? keepAll(active, options.keep) : undefined
  failure ??= unkept
  if (failure !== undefined) throw failure
}

/** Adds a result to those that are to be recorded, and records them when they are many bytes. */
function freshen(state: Active, result: TaskResult, keep: KeepRanges): void {
  const bytes = result.read + result.written
  state.fresh.push(result)
  state.freshBytes += bytes
  state.bytes += bytes
  const { done = [], program } = state.job
  // A tensor is recorded when its last pass ends. If it is stored in parts, they are read first.
  const isEarly = state.pass < program.passes.length - 1 || program.output!.places.length > 1
  const isLarge = state.bytes >= keep.every || done.length > 0
  const ends = state.unfinished.length === 0 && isEarly && isLarge
  if (ends || state.freshBytes >= keep.every) keepFresh(state, keep)
}

/** Records what is finished of jobs that end early. Returns a failure: on a full disk, the one before says more. */
function keepAll(active: readonly Active[], keep: KeepRanges | undefined): unknown {
  try {
    if (keep) for (const state of active) keepFresh(state, keep)
    return undefined
  } catch (error) {
    return error
  }
}

/** Records those whose rows are finished. */
function keepFresh(state: Active, { keep }: KeepRanges): void {
  const { job, pass, fresh, coefficients, tables, unfinished } = state
  const { program } = job
  const isReady = ({ firstTile, tiles }: TaskResult): boolean => {
    const [first, end] = seenBy(program, pass, [firstTile, firstTile + tiles])
    return unfinished.every(([from, to]) => to <= first || from >= end)
  }
  const ready = fresh.filter(isReady)
  const ranges = () => {
    const given = givenDigest(program, pass, coefficients, tables)
    return rangesOf({ program, given, digests: (key) => digestsOf(state, key) }, ready)
  }
  if (ready.length > 0 && keep(job, pass, ranges)) state.fresh = fresh.filter((result) => !ready.includes(result))
  state.freshBytes = 0
}

const digestsOf = ({ output, digests }: Active, key: number): Uint8Array => (key < 0 ? output! : digests.get(key)!)

/** The program with the values of the leaves that are computed before it begins. */
async function withComputed(
  program: Program,
  computed: readonly ComputedLeaf[],
  values: ScheduleOptions['values'],
): Promise<Program> {
  if (!values) throw new Error('internal: nobody computes leaves here')
  const leaves = [...program.leaves]
  for (const { leaf: index, from } of computed) {
    const leaf = leaves[index]!
    leaves[index] = { ...leaf, reader: withValues(leaf.reader, await values(from)) }
  }
  return { ...program, leaves }
}

function open(index: number, job: Job, pool: Pool): Active {
  const { program } = job
  const widest = Math.max(...program.leaves.map((leaf) => leaf.elementBytes), program.output?.elementBytes ?? 1)
  const digestBytes = (bytes: number) => new Uint8Array(digestsSize(bytes))
  const digests = new Map<number, Uint8Array>()
  for (const [index, leaf] of program.leaves.entries()) {
    const { digestIn, reader, elementBytes } = leaf
    const bytes = reader.kind === 'contiguous' ? reader.bytes : program.elements * elementBytes
    if (digestIn >= 0) digests.set(index, digestBytes(bytes))
  }
  return {
    index,
    job,
    passes: job.merges.map(passesFor),
    tiles: Math.ceil(program.elements / TILE),
    tilesPerTask: Math.max(
      ...[1, Math.floor(pool.taskBytes / (TILE * widest))],
      ...[bandTiles(program.leaves) ?? 0, keptTiles(program.leaves, pool.kept) ?? 0],
    ),
    pass: -1,
    unsent: [],
    unfinished: [],
    fresh: [],
    freshBytes: 0,
    bytes: 0,
    coefficients: [],
    tables: [],
    gathering: undefined,
    results: [],
    digests,
    output: program.output?.digest ? digestBytes(program.elements * program.output.elementBytes) : undefined,
    nonFinite: 0,
    notes: new Set(),
    memory: undefined,
  }
}

function takeTask(state: Active): Work {
  const { pass, coefficients, unsent } = state
  const { program } = state.job
  const [firstTile, end] = unsent[0]!
  const tiles = Math.min(state.tilesPerTask, end - firstTile)
  state.unsent = firstTile + tiles < end ? [[firstTile + tiles, end], ...unsent.slice(1)] : unsent.slice(1)
  const tables = state.tables.map((table) => table && cut(table, program, firstTile, tiles))
  return { program, pass, firstTile, tiles, coefficients, ...(tables.some((table) => table) ? { tables } : {}) }
}

/** A table's part that a task needs: the rows that its tiles touch. */
function cut(
  { per, slots, values }: Table,
  { rowLength, elements }: Job['program'],
  firstTile: number,
  tiles: number,
): TaskTable {
  if (per === 'tensor') return { firstRow: -1, slots, values }
  const firstRow = Math.floor((firstTile * TILE) / rowLength)
  const end = Math.ceil(Math.min(elements, (firstTile + tiles) * TILE) / rowLength)
  return { firstRow, slots, values: values.slice(firstRow * slots, end * slots) }
}

/** Makes the next pass ready, past those that turn out not to be needed; false where there is none left. */
function openPass(state: Active, options: ScheduleOptions): boolean {
  const { math } = options
  const { program, merges } = state.job
  for (state.pass++; state.pass < program.passes.length; state.pass++) {
    const pass = program.passes[state.pass]!
    const inputs = merges.map((_, index) => inputOf(state, index, math))
    const { owner, declared } = declaredPass(state)
    if (declared?.skip?.(inputs[owner]!)) {
      state.results.push(new Float64Array(0))
      continue
    }
    const tile = declared?.tile?.(inputs[owner]!)
    const [first, end] = tile === undefined ? [0, tilesOf(state, pass)] : [tile, tile + 1]
    state.unsent = first < end ? [[first, end]] : []
    state.unfinished = state.unsent
    state.fresh = []
    state.gathering = pass.kind === 'reduce' ? gather(pass, declared?.maxima ?? 0, first, end, program) : undefined
    // The merge that a reduce pass belongs to is given that pass's coefficients; merges below it their maps'.
    const known = merges.map(({ own }) => own.every((index) => index < state.pass))
    state.coefficients = state.passes.map(({ map }, index) => {
      if (index === owner) return declared?.coefficients?.(inputs[index]!) ?? []
      return known[index] ? map.coefficients(inputs[index]!) : []
    })
    state.tables = state.passes.map(({ map }, index) =>
      index === owner ? declared?.table?.(inputs[index]!) : known[index] ? map.table?.(inputs[index]!) : undefined,
    )
    takeOver(state)
    if (state.unfinished.length > 0) return true
    closePass(state, options)
  }
  return false
}

/** Takes over what an earlier run did of a pass. */
function takeOver(state: Active): void {
  const { job, pass, coefficients, tables } = state
  // Runs that were interrupted at different tiles leave ranges that overlap: the longest first.
  const own = (job.done ?? []).filter((range) => range.pass === pass).sort((a, b) => b.tiles - a.tiles)
  if (own.length === 0) return
  const given = givenDigest(job.program, pass, coefficients, tables)
  for (const range of own) {
    const span: Span = [range.firstTile, range.firstTile + range.tiles]
    const result = range.given === given && contains(state.unsent, span) ? resultOfRange(job.program, range) : undefined
    if (!result) continue
    collect(state, result)
    state.unsent = without(state.unsent, span)
  }
}

const tilesOf = ({ job: { program } }: Active, pass: Pass): number =>
  pass.kind === 'solve' ? 1 : Math.ceil(passElements(pass, program.nodes, program.elements) / TILE)

/** What the method of a merge gets to know by now. */
function inputOf({ job, results, notes }: Active, merge: number, math: ScalarMath): PassInput {
  const { settings, own, scope } = job.merges[merge]!
  return {
    ...settings,
    results: own.flatMap((index) => (results[index] ? [results[index]] : [])),
    scope,
    math,
    note: (text) => notes.add(text),
  }
}

/** The pass under way as its method declares it, and the merge that it belongs to; -1 where it is no merge's own. */
function declaredPass({ job, pass, passes }: Active): { owner: number; declared: ReducePass | undefined } {
  const owner = job.merges.findIndex(({ own }) => own.includes(pass))
  return { owner, declared: passes[owner]?.reduces[job.merges[owner]!.own.indexOf(pass)] }
}

function closePass(state: Active, { math, digested }: ScheduleOptions): void {
  const { job, digests, pass } = state
  for (const { key } of digested ? digestedIn(job.program, pass) : []) {
    if (key >= 0) digested!(job, key, digests.get(key)!)
  }
  const combined = state.gathering?.result() ?? new Float64Array(0)
  const { owner, declared } = declaredPass(state)
  state.results.push(declared?.conclude ? declared.conclude(combined, inputOf(state, owner, math)) : combined)
}

function collect(state: Active, result: TaskResult | TeamResult): void {
  const { program } = state.job
  state.gathering?.add(result)
  state.nonFinite += result.nonFinite ?? 0
  if (result.note !== undefined) state.notes.add(result.note)
  if ('memory' in result) state.memory = result.memory
  let at = 0
  for (const one of digestedIn(program, result.pass)) {
    const [start, end] = digestsAt(one, [result.firstTile, result.firstTile + result.tiles])
    const into = digestsOf(state, one.key)
    into.set(result.digests.subarray(at, at + end - start), start)
    at += end - start
  }
  state.unfinished = without(state.unfinished, [result.firstTile, result.firstTile + result.tiles])
}

const resultOf = ({ digests, output, results, nonFinite, notes, memory }: Active): JobResult => ({
  leaves: digests,
  ...(output ? { output } : {}),
  results,
  nonFinite,
  notes: [...notes].sort(),
  ...(memory ? { memory } : {}),
})
