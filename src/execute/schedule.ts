import { DIGEST_BYTES, LEAF, REDUCES, type ScalarMath, TILE } from '../kernels/types.js'
import type { Job } from './compile.js'
import type { Task, TaskResult } from './program.js'

/** What a finished job leaves behind. */
export interface JobResult {
  /** By leaf with digest duty: its leaf digests, 16 bytes each. */
  readonly leaves: ReadonlyMap<number, Uint8Array>
  readonly output?: Uint8Array
  /** By reduce pass, the sums over the whole tensor. */
  readonly sums: readonly Float64Array[]
}

/** Runs tasks somewhere. `run` resolves with the result; it takes a task whenever fewer than `capacity` are under way. */
export interface Pool {
  readonly capacity: number
  /** Bytes of a task's widest tensor at the most. */
  readonly taskBytes: number
  run(task: Task, program: Job['program']): Promise<TaskResult>
}

export interface ScheduleOptions {
  readonly math: ScalarMath
  /** Called when a job is finished, in the order of finishing. */
  readonly finished: (job: number, result: JobResult) => void
  /** Called for each task done. */
  readonly progress: (read: number, written: number) => void
  readonly signal?: AbortSignal
}

/** Jobs under way at once: enough to keep threads busy while a reduce pass closes, few enough to keep pages warm. */
const WINDOW = 16

interface Active {
  readonly index: number
  readonly job: Job
  readonly tiles: number
  readonly tilesPerTask: number
  pass: number
  /** Tiles of this pass that were handed out, and that came back. */
  sent: number
  back: number
  coefficients: readonly (readonly number[])[]
  partial: Float64Array
  readonly sums: Float64Array[]
  readonly digests: Map<number, Uint8Array>
  output: Uint8Array | undefined
}

/**
 * Runs all jobs on the pool. Tiles of a pass go out in any order to any thread; sums come back by tile and are added
 * up in the order of tiles, digests go to fixed places: so the order can't show in the results.
 */
export async function schedule(jobs: readonly Job[], pool: Pool, options: ScheduleOptions): Promise<void> {
  const active: Active[] = []
  const waiting = new Set<Promise<void>>()
  let next = 0
  let failure: unknown

  function nextTask(): { state: Active; task: Task } | undefined {
    for (;;) {
      const state = active.find((state) => state.sent < state.tiles)
      if (state) {
        const firstTile = state.sent
        const tiles = Math.min(state.tilesPerTask, state.tiles - firstTile)
        state.sent += tiles
        const { index: job, pass, coefficients } = state
        return { state, task: { job, pass, firstTile, tiles, coefficients } }
      }
      if (next === jobs.length || active.length >= WINDOW) return undefined
      const opened = open(next, jobs[next]!, pool.taskBytes, options.math)
      next++
      // A tensor without elements has no tiles: it is finished at once.
      if (opened.tiles === 0) options.finished(opened.index, resultOf(opened))
      else active.push(opened)
    }
  }

  function receive(state: Active, result: TaskResult): void {
    collect(state, result)
    options.progress(result.read, result.written)
    if (state.back < state.tiles) return
    if (closePass(state, options.math)) return
    active.splice(active.indexOf(state), 1)
    options.finished(state.index, resultOf(state))
  }

  const stopped = () => failure !== undefined || options.signal?.aborted
  for (;;) {
    while (!stopped() && waiting.size < pool.capacity) {
      const item = nextTask()
      if (!item) break
      const running: Promise<void> = pool
        .run(item.task, item.state.job.program)
        .then((result) => receive(item.state, result))
        .catch((error: unknown) => {
          failure ??= error
        })
        .finally(() => waiting.delete(running))
      waiting.add(running)
    }
    if (waiting.size === 0) break
    await Promise.race(waiting)
  }
  if (failure !== undefined) throw failure
}

function open(index: number, job: Job, taskBytes: number, math: ScalarMath): Active {
  const { program } = job
  const tiles = Math.ceil(program.elements / TILE)
  const widest = Math.max(...program.leaves.map((leaf) => leaf.elementBytes), program.output?.elementBytes ?? 1)
  const digestBytes = (elementBytes: number) =>
    new Uint8Array(Math.ceil((program.elements * elementBytes) / LEAF) * DIGEST_BYTES)
  const digests = new Map<number, Uint8Array>()
  for (const [index, leaf] of program.leaves.entries()) {
    if (leaf.digestIn >= 0) digests.set(index, digestBytes(leaf.elementBytes))
  }
  const state: Active = {
    index,
    job,
    tiles,
    tilesPerTask: Math.max(1, Math.floor(taskBytes / (TILE * widest))),
    pass: 0,
    sent: 0,
    back: 0,
    coefficients: [],
    partial: new Float64Array(0),
    sums: [],
    digests,
    output: program.output?.digest ? digestBytes(program.output.elementBytes) : undefined,
  }
  openPass(state, math)
  return state
}

function openPass(state: Active, math: ScalarMath): void {
  const { program, merges, shape } = state.job
  const pass = program.passes[state.pass]!
  state.sent = 0
  state.back = 0
  state.partial = new Float64Array(pass.kind === 'reduce' ? REDUCES[pass.kernel].slots * state.tiles : 0)
  state.coefficients = merges.map(({ method, expr, reduces }) =>
    reduces.some((index) => index >= state.pass)
      ? []
      : method.map.coefficients({
          shape,
          weights: expr.weights,
          parameters: expr.parameters,
          sums: reduces.map((index) => state.sums[index]!),
          math,
        }),
  )
}

/** Adds up a finished pass; false where it was the last one. */
function closePass(state: Active, math: ScalarMath): boolean {
  const { passes } = state.job.program
  const pass = passes[state.pass]!
  const { slots, maxima } = pass.kind === 'reduce' ? REDUCES[pass.kernel] : { slots: 0, maxima: 0 }
  const sums = new Float64Array(slots)
  for (let tile = 0; tile < state.tiles; tile++) {
    for (let slot = 0; slot < slots; slot++) {
      const value = state.partial[tile * slots + slot]!
      if (slot < slots - maxima) sums[slot]! += value
      else sums[slot] = Math.max(sums[slot]!, value)
    }
  }
  state.sums.push(sums)
  state.pass++
  if (state.pass === passes.length) return false
  openPass(state, math)
  return true
}

function collect(state: Active, result: TaskResult): void {
  const { program } = state.job
  if (result.sums) state.partial.set(result.sums, (result.sums.length / result.tiles) * result.firstTile)
  let at = 0
  const take = (into: Uint8Array, elementBytes: number) => {
    // A tile has as many leaves as its elements have bytes, since TILE elements are LEAF bytes times that.
    const start = result.firstTile * elementBytes * DIGEST_BYTES
    const length = Math.min(result.tiles * elementBytes * DIGEST_BYTES, into.length - start)
    into.set(result.digests.subarray(at, at + length), start)
    at += length
  }
  for (const [index, leaf] of program.leaves.entries()) {
    if (leaf.digestIn === result.pass) take(state.digests.get(index)!, leaf.elementBytes)
  }
  if (state.output && program.passes[result.pass]!.kind === 'write') take(state.output, program.output!.elementBytes)
  state.back += result.tiles
}

const resultOf = ({ digests, output, sums }: Active): JobResult => ({
  leaves: digests,
  ...(output ? { output } : {}),
  sums,
})
