import type { Worker } from 'node:worker_threads'
import { type Diagnostic, type ExitCode, Fault } from '../../core/diagnostics.js'
import { noAddresses, resourceFault, shareFiles } from '../../core/resources.js'
import type { WebAssembly } from '../../core/webassembly.js'
import { createTeamMemory, resetTeam, Stopped, stopTeam, type TeamMemory } from '../../kernels/dense/team.js'
import { compileKernels } from '../../kernels/index.js'
import { TILE } from '../../kernels/types.js'
import type { WindowMode } from '../../storage/local/window.js'
import type { Program, Task, TaskResult } from '../program.js'
import type { Pool } from '../schedule/schedule.js'
import { takeWorker, workersWithin } from './keptWorkers.js'

/** End of the kernels' scratch space in a worker's memory; windows on inputs follow. */
export const ARENA_END = 64 * 2 ** 20
/** Programs that a worker keeps; more than jobs can be under way. */
export const KEPT_PROGRAMS = 64
/** Bytes of a window where files are mapped: few calls to the system, little address space. */
const MAPPED_SLOT = 64 * 2 ** 20
/** Where files are read: one tile of the widest dtype, and a page. */
const READ_SLOT = TILE * 8 + 65536
const WASM_PAGE = 65536
/** Long enough to hide messages, short enough to keep all threads busy to the end. */
const TASK_BYTES = 16 * 2 ** 20
/** Tasks that a worker has at hand: the next one lies ready when one is done. */
const DEPTH = 2

export interface PoolSetup {
  readonly threads: number
  readonly mode: WindowMode
  readonly inputs: readonly { readonly path: string; readonly size: number }[]
  readonly outputs: readonly string[]
  /** The most leaves that one program reads. */
  readonly leaves: number
  /** The longest row that a program needs whole around a tile, in elements. */
  readonly reach: number
  /** The most bytes of matrices that a program holds; none unless told. */
  readonly held?: number
}

/** The first message to a worker; tasks follow. */
export interface WorkerSetup extends Omit<PoolSetup, 'threads' | 'leaves' | 'reach' | 'held'> {
  readonly team?: { readonly memory: TeamMemory; readonly thread: number }
  readonly module: WebAssembly.Module
  readonly pages: number
  readonly slots: number
  readonly slotBytes: number
  /** Files that may stay open, of the inputs and of the outputs. */
  readonly openFiles: number
}

export type WorkerFailure =
  | { readonly diagnostics: readonly Diagnostic[]; readonly exit: ExitCode }
  | { readonly message: string }
  /** It waited for others that did not come. */
  | { readonly stopped: true }

type WorkerMessage = { result: TaskResult } | { failure: WorkerFailure } | { mode: WindowMode }

export interface WorkerPool extends Pool {
  /** How inputs are really read: known when the first worker is up. */
  readonly mode: Promise<WindowMode>
  /** What held work left, until other held work begins. */
  matrices(): ArrayBufferLike
  close(): Promise<void>
}

/** Window sizes for programs of so many leaves: in bytes, a multiple of a WebAssembly page. */
export function slotBytes(mode: WindowMode, leaves: number, reach: number): number {
  if (mode === 'read') return READ_SLOT + Math.ceil((2 * reach * 8) / WASM_PAGE) * WASM_PAGE
  const room = Math.floor((65535 * WASM_PAGE - ARENA_END) / Math.max(1, leaves))
  return Math.min(MAPPED_SLOT, room - (room % WASM_PAGE))
}

interface Hand {
  readonly worker: Worker
  /** It has started, or never will: why. */
  readonly up: Promise<Error | undefined>
  readonly sent: number[]
  readonly waiting: { resolve: (result: TaskResult) => void; reject: (error: unknown) => void }[]
}

/** A pool of as many threads as the system lets start. Fault `too-few-resources` where it lets none. */
export async function openPool(setup: PoolSetup): Promise<WorkerPool> {
  const module = await compileKernels()
  const share = shareFiles(setup.threads)
  let threads = workersWithin(share.threads)
  if (threads < 1) throw noAddresses()
  for (;;) {
    const { pool, up } = startPool({ ...setup, threads }, module, share.files)
    const failures = (await Promise.all(up)).filter((error) => error !== undefined)
    if (failures.length === 0) return pool
    await pool.close()
    threads -= failures.length
    if (threads < 1) throw resourceFault(failures[0]) ?? failures[0]
  }
}

function startPool(
  setup: PoolSetup,
  module: WebAssembly.Module,
  openFiles: number,
): { readonly pool: WorkerPool; readonly up: readonly Hand['up'][] } {
  const { threads, mode, inputs, outputs, leaves, reach, held = 0 } = setup
  const team = held > 0 ? createTeamMemory(held, threads) : undefined
  const size = slotBytes(mode, leaves, reach)
  const pages = Math.ceil((ARENA_END + leaves * size) / WASM_PAGE)
  const common: WorkerSetup = { module, mode, inputs, outputs, pages, slots: leaves, slotBytes: size, openFiles }
  let ready: (mode: WindowMode) => void = () => {}
  const known = new Promise<WindowMode>((resolve) => {
    ready = resolve
  })
  let jobs = 0
  const hands = Array.from({ length: threads }, (_, thread) =>
    startHand(team ? { ...common, team: { memory: team, thread } } : common, ready),
  )
  const send = (hand: Hand, task: Task, program: Program) =>
    new Promise<TaskResult>((resolve, reject) => {
      hand.waiting.push({ resolve, reject })
      hand.worker.postMessage(withProgram(hand, task, program))
    })
  const pool: WorkerPool = {
    capacity: threads * DEPTH,
    // A mapped window begins at a page, which may lie before the task's first byte; rows reach beyond its tiles.
    // What is read comes tile by tile, so that no window bounds a task.
    taskBytes: mode === 'read' ? TASK_BYTES : Math.min(TASK_BYTES, size - 2 * WASM_PAGE - 2 * reach * 8),
    mode: known,
    newJob: () => jobs++,
    run(task, program) {
      const hand = hands.reduce((least, hand) => (hand.waiting.length < least.waiting.length ? hand : least))
      return send(hand, task, program)
    },
    async together(task, program) {
      if (!team) throw new Error('internal: held work without a memory to hold it')
      resetTeam(team)
      // Where one fails, the others would wait for it.
      const stopped = (error: unknown): never => {
        stopTeam(team)
        throw error
      }
      const all = await Promise.allSettled(hands.map((hand) => send(hand, task, program).catch(stopped)))
      const failures = all.flatMap((each) => (each.status === 'rejected' ? [each.reason as unknown] : []))
      if (failures.length > 0) throw failures.find((failure) => !(failure instanceof Stopped)) ?? failures[0]
      return (all[0] as PromiseFulfilledResult<TaskResult>).value
    },
    stop() {
      if (team) stopTeam(team)
    },
    matrices() {
      if (!team) throw new Error('internal: no memory of matrices')
      return team.memory.buffer
    },
    async close() {
      // Ended while it loads a native library, a worker would take the process with it.
      await Promise.all(hands.map(({ worker, up }) => up.then(() => worker.terminate())))
    },
  }
  return { pool, up: hands.map(({ up }) => up) }
}

/** A worker keeps its last programs, so a program goes along only where it is not among them. */
function withProgram({ sent }: Hand, task: Task, program: Program): Task {
  if (sent.includes(task.job)) return task
  sent.push(task.job)
  if (sent.length > KEPT_PROGRAMS) sent.shift()
  return { ...task, program }
}

function startHand(setup: WorkerSetup, ready: (mode: WindowMode) => void): Hand {
  const worker = takeWorker()
  const waiting: Hand['waiting'] = []
  const up: Hand['up'] = new Promise((resolve) => {
    worker.once('message', () => resolve(undefined))
    worker.once('error', resolve)
    worker.once('exit', () => resolve(new Error('internal: a worker ended before its work')))
  })
  worker.on('message', (message: WorkerMessage) => {
    if ('mode' in message) ready(message.mode)
    else if ('result' in message) waiting.shift()!.resolve(message.result)
    else waiting.shift()!.reject(failureOf(message.failure))
  })
  const broken = (error: unknown) => {
    for (const { reject } of waiting.splice(0)) reject(error)
  }
  worker.on('error', (error) =>
    broken(resourceFault(error) ?? new Error(`internal: a worker failed: ${error.message}`)),
  )
  worker.on('exit', () => broken(new Error('internal: a worker ended before its work')))
  worker.postMessage(setup)
  return { worker, up, sent: [], waiting }
}

const failureOf = (failure: WorkerFailure): Error =>
  'stopped' in failure
    ? new Stopped()
    : 'message' in failure
      ? new Error(`internal: ${failure.message}`)
      : new Fault(failure.diagnostics, failure.exit)
