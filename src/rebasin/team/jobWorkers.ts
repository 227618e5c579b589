/** Worker threads that do one job at a time, each started when there is work for it. They keep no process alive. */
import { Worker } from 'node:worker_threads'
import type { WebAssembly } from '../../core/webassembly.js'
import { Stopped, type TeamMemory } from '../../kernels/dense/team.js'
import type { Assignment, AssignmentInPlace, Product } from '../../kernels/linalg.js'
import type { CosinesTask, Pursuer, PursuitTask, RowsTask, SumsTask } from '../../kernels/pursuit/index.js'

export type PursuitJob =
  | { readonly kind: 'pursuit'; readonly task: PursuitTask }
  | { readonly kind: 'rows'; readonly task: RowsTask }
  | { readonly kind: 'cosines'; readonly task: CosinesTask }
  | { readonly kind: 'sums'; readonly task: SumsTask }

/** One thread's part of a job. */
export function doPursuit(pursuer: Pursuer, job: PursuitJob): void {
  if (job.kind === 'rows') pursuer.makeRows(job.task)
  else if (job.kind === 'cosines') pursuer.makeCosines(job.task)
  else if (job.kind === 'sums') pursuer.sumRows(job.task)
  else pursuer.pursue(job.task)
}

/** What a worker is sent. */
export type Job =
  | { readonly kind: 'product'; readonly product: Product; readonly next: Int32Array }
  | { readonly kind: 'assign'; readonly scores: Float32Array; readonly size: number; readonly warm?: Assignment }
  | ({ readonly kind: 'solve' } & AssignmentInPlace)
  | PursuitJob
  | { readonly kind: 'polar'; readonly team: TeamMemory; readonly thread: number; readonly size: number }

export interface JobWorkers {
  /** Rejects with `Stopped` where the workers are or were closed. */
  readonly send: (job: Job) => Promise<unknown>
  readonly isClosed: () => boolean
  readonly close: () => Promise<void>
}

/** Workers on one memory, at most so many. */
export function jobWorkers(threads: number, memory: WebAssembly.Memory): JobWorkers {
  const idle: Worker[] = []
  /** Undefined is for who waits when the workers are closed. */
  const waiting: ((worker: Worker | undefined) => void)[] = []
  const all: Worker[] = []
  let closed = false

  const start = (): Worker => {
    const worker = new Worker(new URL('./worker.js', import.meta.url), { workerData: memory })
    worker.setMaxListeners(0)
    worker.unref()
    all.push(worker)
    return worker
  }
  const take = (): Promise<Worker | undefined> => {
    const ready = idle.pop()
    if (ready) return Promise.resolve(ready)
    if (all.length < threads) return Promise.resolve(start())
    return new Promise((resolve) => waiting.push(resolve))
  }
  const give = (worker: Worker): void => {
    const first = waiting.shift()
    if (first) first(worker)
    else idle.push(worker)
  }
  /** One that has ended is nobody's any more: who waits gets a new one. */
  const lose = (worker: Worker): void => {
    all.splice(all.indexOf(worker), 1)
    const first = waiting.shift()
    if (first) first(start())
  }
  const send = async (job: Job): Promise<unknown> => {
    if (closed) throw new Stopped()
    const worker = await take()
    // It may have been closed meanwhile.
    if (closed || !worker) throw new Stopped()
    worker.ref()
    return new Promise((resolve, reject) => {
      const done = (settle: () => void) => {
        worker.off('message', onMessage).off('error', onError).off('exit', onExit).unref()
        settle()
      }
      const onMessage = (message: unknown) =>
        done(() => {
          give(worker)
          resolve(message)
        })
      const fail = (error: Error) =>
        done(() => {
          lose(worker)
          reject(closed ? new Stopped() : error)
        })
      const onError = (error: Error) => fail(error)
      const onExit = () => fail(new Error('internal: a matching worker ended early'))
      worker.on('message', onMessage).on('error', onError).on('exit', onExit)
      worker.postMessage(job)
    })
  }

  const close = async () => {
    closed = true
    for (const first of waiting.splice(0)) first(undefined)
    await Promise.all(all.map((worker) => worker.terminate()))
  }
  return { send, isClosed: () => closed, close }
}
