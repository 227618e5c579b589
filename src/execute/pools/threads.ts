import type { Worker } from 'node:worker_threads'
import { type Diagnostic, type ExitCode, Fault } from '../../core/diagnostics.js'
import { noAddresses, resourceFault, shareFiles } from '../../core/resources.js'
import type { WebAssembly } from '../../core/webassembly.js'
import { createTeamMemory, resetTeam, Stopped, stopTeam, type TeamMemory } from '../../kernels/dense/team.js'
import { compileKernels } from '../../kernels/index.js'
import { KEPT } from '../../views/transposed.js'
import type { Program, Task, TaskResult, Work } from '../program.js'
import { recallable } from '../worker/read/recalled.js'
import { type RunnerSetup, taskBytes } from '../worker/runner.js'
import { keepWorker, kept, spareWorkers, takeWorker, workersWithin } from './keptWorkers.js'
import type { Pool, PoolFiles, PoolSetup } from './types.js'

/** Programs that a worker keeps: more than the number of concurrent jobs. */
export const KEPT_PROGRAMS = 64
/** Tasks that are sent to a worker at once, so that it never waits for the next one. */
const DEPTH = 2

/** The first message to a worker; tasks follow. */
export interface WorkerSetup extends RunnerSetup {
  readonly outputs: readonly string[]
  readonly team?: { readonly memory: TeamMemory; readonly thread: number }
}

export type WorkerFailure =
  | { readonly diagnostics: readonly Diagnostic[]; readonly exit: ExitCode }
  | { readonly message: string }
  /** It waited for workers that had stopped. */
  | { readonly stopped: true }

/** The last message of a run: the worker closes its files, and waits for another setup. */
export const REST = 'rest'

/** Asks a worker to close files. It answers in its turn. */
export interface Release {
  readonly release: PoolFiles
}

type WorkerMessage = 'ready' | 'rested' | 'released' | { result: TaskResult } | { failure: WorkerFailure }

interface Hand {
  readonly worker: Worker
  /** Resolves when it has started; rejects if it cannot start. */
  readonly up: Promise<Error | undefined>
  /** The jobs whose programs it has. */
  readonly sent: number[]
  readonly waiting: { resolve: (result: TaskResult) => void; reject: (error: unknown) => void }[]
  /** The same for files to close. */
  readonly releasing: { resolve: () => void; reject: (error: unknown) => void }[]
}

/** A pool with as many threads as the system allows. Error: `too-few-resources` if it allows none. */
export async function openPool(setup: PoolSetup): Promise<Pool> {
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
): { readonly pool: Pool; readonly up: readonly Hand['up'][] } {
  const { threads, mode, inputs, outputs, leaves, reach, kept = KEPT, recall = 0, held = 0, signal } = setup
  const team = held > 0 ? createTeamMemory(held, threads) : undefined
  const common: WorkerSetup = { module, mode, inputs, outputs, leaves, reach, kept, recall, openFiles }
  const hands = Array.from({ length: threads }, (_, thread) =>
    startHand(team ? { ...common, team: { memory: team, thread } } : common),
  )
  const numbers = jobNumbers()
  const home = homes(hands)
  const send = (hand: Hand, work: Work) =>
    new Promise<TaskResult>((resolve, reject) => {
      hand.waiting.push({ resolve, reject })
      hand.worker.postMessage(taskFor(hand, numbers(work.program), work))
    })
  const stop = () => team && stopTeam(team)
  signal?.addEventListener('abort', stop)
  const pool: Pool = {
    capacity: threads * DEPTH,
    taskBytes: taskBytes({ ...setup, kept }),
    kept,
    run(work) {
      return send(home(work), work)
    },
    async together(work) {
      if (!team) throw new Error('internal: held work without a memory to hold it')
      resetTeam(team)
      // If one fails, the others would wait for it.
      const stopped = (error: unknown): never => {
        stopTeam(team)
        throw error
      }
      const all = await Promise.allSettled(hands.map((hand) => send(hand, work).catch(stopped)))
      const failures = all.flatMap((each) => (each.status === 'rejected' ? [each.reason as unknown] : []))
      if (failures.length > 0) throw failures.find((failure) => !(failure instanceof Stopped)) ?? failures[0]
      const { value } = all[0] as PromiseFulfilledResult<TaskResult>
      return { ...value, memory: team.memory.buffer }
    },
    async release(files) {
      const closed = hands.map(
        ({ worker, releasing }) =>
          new Promise<void>((resolve, reject) => {
            releasing.push({ resolve, reject })
            worker.postMessage({ release: files } satisfies Release)
          }),
      )
      await Promise.all(closed)
    },
    async close() {
      signal?.removeEventListener('abort', stop)
      await Promise.all(hands.map(endHand))
    },
  }
  return { pool, up: hands.map(({ up }) => up) }
}

const canKeep = (): boolean => spareWorkers() < kept.most

/** Ends a worker, or keeps it for the next run. */
async function endHand({ worker, up, waiting, releasing }: Hand): Promise<void> {
  // Ending a worker while it loads a native library would crash the process.
  const failure = await up
  const isIdle = waiting.length + releasing.length === 0
  const rests = failure === undefined && isIdle && canKeep() && (await rested(worker))
  // Others may have come to rest meanwhile.
  if (rests && canKeep()) keepWorker(worker)
  else await worker.terminate()
}

/** Tells a worker that its run is over; false if it ends instead. */
function rested(worker: Worker): Promise<boolean> {
  for (const event of ['message', 'error', 'exit']) worker.removeAllListeners(event)
  return new Promise((resolve) => {
    const settle = (is: boolean) => () => {
      for (const event of ['message', 'error', 'exit']) worker.removeAllListeners(event)
      resolve(is)
    }
    worker.once('message', settle(true))
    worker.once('error', settle(false))
    worker.once('exit', settle(false))
    worker.postMessage(REST)
  })
}

/**
 * Chooses workers: the one with the least to do. What remembers inputs of a program gets the same tiles again, in its later passes.
 */
function homes(hands: readonly Hand[]): (work: Work) => Hand {
  const known = new WeakMap<Program, { readonly first: number; readonly end: number; readonly hand: Hand }[]>()
  const listOf = (program: Program) => {
    const list = known.get(program) ?? (recallable(program).some((recalls) => recalls) ? [] : undefined)
    if (list) known.set(program, list)
    return list
  }
  return ({ program, firstTile, tiles }) => {
    const list = program.passes.length > 1 ? listOf(program) : undefined
    const found = list?.find(({ first, end }) => firstTile >= first && firstTile < end)
    if (found) return found.hand
    const hand = hands.reduce((least, hand) => (hand.waiting.length < least.waiting.length ? hand : least))
    list?.push({ first: firstTile, end: firstTile + tiles, hand })
    return hand
  }
}

/** Assigns numbers to programs. Workers keep programs by number. */
function jobNumbers(): (program: Program) => number {
  const known = new WeakMap<Program, number>()
  let next = 0
  return (program) => {
    const number = known.get(program) ?? next++
    known.set(program, number)
    return number
  }
}

/** Sends a program with a task only if the worker does not have it. */
function taskFor({ sent }: Hand, job: number, { program, ...rest }: Work): Task {
  if (sent.includes(job)) return { ...rest, job }
  sent.push(job)
  if (sent.length > KEPT_PROGRAMS) sent.shift()
  return { ...rest, job, program }
}

function startHand(setup: WorkerSetup): Hand {
  const worker = takeWorker()
  const waiting: Hand['waiting'] = []
  const releasing: Hand['releasing'] = []
  const up: Hand['up'] = new Promise((resolve) => {
    worker.once('message', () => resolve(undefined))
    worker.once('error', resolve)
    worker.once('exit', () => resolve(new Error('internal: a worker ended before its work')))
  })
  worker.on('message', (message: WorkerMessage) => {
    if (message === 'ready' || message === 'rested') return
    if (message === 'released') releasing.shift()!.resolve()
    else if ('result' in message) waiting.shift()!.resolve(message.result)
    else waiting.shift()!.reject(failureOf(message.failure))
  })
  const broken = (error: unknown) => {
    for (const { reject } of [...waiting.splice(0), ...releasing.splice(0)]) reject(error)
  }
  worker.on('error', (error) =>
    broken(resourceFault(error) ?? new Error(`internal: a worker failed: ${error.message}`)),
  )
  worker.on('exit', () => broken(new Error('internal: a worker ended before its work')))
  worker.postMessage(setup)
  return { worker, up, sent: [], waiting, releasing }
}

const failureOf = (failure: WorkerFailure): Error =>
  'stopped' in failure
    ? new Stopped()
    : 'message' in failure
      ? new Error(`internal: ${failure.message}`)
      : new Fault(failure.diagnostics, failure.exit)
