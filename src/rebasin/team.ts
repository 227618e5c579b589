import { Worker } from 'node:worker_threads'
import { WebAssembly } from '../core/webassembly.js'
import { polarBytes } from '../kernels/dense/polar.js'
import { createTeamMemory, resetTeam, Stopped, TEAM_BYTES, type TeamMemory } from '../kernels/dense/team.js'
import {
  type Assignment,
  type AssignmentInPlace,
  assignBytes,
  assignmentAt,
  createLinalg,
  type Linalg,
  type Product,
  tileOf,
} from '../kernels/linalg.js'

/** Threads for matrix products, assignments and polar factors. Their number decides nothing but the time. */
export interface Pool {
  readonly threads: number
  /** C += X · Yᵀ, as `Product` says. C and the operands' data from `sharedFloats` go to the workers without a copy. */
  readonly addProduct: (product: Product) => Promise<void>
  readonly assign: (scores: Float32Array, size: number, warm?: Assignment) => Promise<Assignment>
  /**
   * The pool's one room for scores, with space for so many numbers: assignments of squares of up to `side` that lie in it need no
   * copy of them. Who asks for it owns it, with whatever it holds, until somebody asks again.
   */
  readonly room: (length: number, side: number) => Float32Array
  /** Lets the event loop turn. Throws where the pool was closed. */
  readonly pause: () => Promise<void>
  /** The rotation R that maximises tr(RᵀA) for a square matrix, row-major. */
  readonly polar: (a: ArrayLike<number>, size: number) => Promise<Float64Array>
  /** For small work on the calling thread. */
  readonly linalg: Linalg
  /** Ends what is under way: it rejects. */
  readonly close: () => Promise<void>
}

export type Job =
  | { readonly kind: 'product'; readonly product: Product; readonly next: Int32Array }
  | { readonly kind: 'assign'; readonly scores: Float32Array; readonly size: number; readonly warm?: Assignment }
  | ({ readonly kind: 'solve' } & AssignmentInPlace)
  | { readonly kind: 'polar'; readonly team: TeamMemory; readonly thread: number; readonly size: number }

/** Below so many multiplications a message costs more than the work. */
const SMALL = 1 << 25
const SMALL_SQUARE = 512
/** Up to this size a polar factor is found by the calling thread. */
const SMALL_POLAR = 128

export const sharedFloats = (length: number): Float32Array => new Float32Array(new SharedArrayBuffer(length * 4))

/** A copy on memory that threads share; the same where it is already. */
export function sharedCopy(values: Float32Array): Float32Array {
  if (values.buffer instanceof SharedArrayBuffer) return values
  const copy = sharedFloats(values.length)
  copy.set(values)
  return copy
}

/** Takes tiles off a shared counter until none is left. */
export function workTiles(linalg: Linalg, product: Product, next: Int32Array): void {
  const [m, n] = [product.x.units.length, product.y.units.length]
  const { rows, columns } = tileOf(product)
  const across = Math.ceil(n / columns)
  const tiles = Math.ceil(m / rows) * across
  for (let tile = Atomics.add(next, 0, 1); tile < tiles; tile = Atomics.add(next, 0, 1)) {
    const i = Math.floor(tile / across) * rows
    const j = (tile % across) * columns
    linalg.addProduct(product, i, Math.min(m, i + rows), j, Math.min(n, j + columns))
  }
}

/** Large work is done by workers even where there is one thread: who waits for it can still be interrupted. */
export function createPool(threads: number): Pool {
  const linalg = createLinalg()
  const idle: Worker[] = []
  /** Undefined is for who waits when the pool is closed. */
  const waiting: ((worker: Worker | undefined) => void)[] = []
  const all: Worker[] = []
  let closed = false
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 65536, shared: true })
  /** Its buffers: a new one each time that it grows. */
  const buffers = new WeakSet<ArrayBufferLike>()
  /** Where assignments find room beside the scores. */
  let beside = TEAM_BYTES

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

  const addProduct: Pool['addProduct'] = async (product) => {
    const { c, x, y } = product
    const [m, n, k] = [x.units.length, y.units.length, x.rests.length]
    const { rows, columns } = tileOf(product)
    const tiles = Math.ceil(m / rows) * Math.ceil(n / columns)
    const shared = [c, x.data, y.data].every((array) => array.buffer instanceof SharedArrayBuffer)
    const next = new Int32Array(new SharedArrayBuffer(4))
    if (!shared || m * n * k < SMALL) return workTiles(linalg, product, next)
    const jobs = Array.from({ length: Math.min(threads, tiles) }, () => send({ kind: 'product', product, next }))
    await Promise.all(jobs)
  }
  const assign: Pool['assign'] = async (scores, size, warm) => {
    const shared = scores.buffer instanceof SharedArrayBuffer
    if (!shared || size < SMALL_SQUARE) return linalg.assign(scores, size, warm)
    if (!buffers.has(scores.buffer))
      return (await send({ kind: 'assign', scores, size, ...(warm ? { warm } : {}) })) as Assignment
    const found = assignmentAt(memory, beside, size)
    if (warm) {
      found.columns.set(warm.columns)
      found.prices.set(warm.prices)
    }
    await send({ kind: 'solve', size, scores: scores.byteOffset, beside, warm: warm !== undefined })
    return { columns: found.columns.slice(), prices: found.prices.slice() }
  }
  const room: Pool['room'] = (length, side) => {
    beside = Math.ceil((TEAM_BYTES + 4 * length) / 64) * 64
    const missing = beside + assignBytes(side) - memory.buffer.byteLength
    if (missing > 0) memory.grow(Math.ceil(missing / 65536))
    buffers.add(memory.buffer)
    return new Float32Array(memory.buffer, TEAM_BYTES, length)
  }
  const pause: Pool['pause'] = async () => {
    await new Promise((resolve) => setImmediate(resolve))
    if (closed) throw new Stopped()
  }
  const polar: Pool['polar'] = async (a, size) => {
    if (size <= SMALL_POLAR) return linalg.polar(Float64Array.from(a), size)
    const team = createTeamMemory(polarBytes(size), threads)
    const matrix = new Float64Array(team.memory.buffer, TEAM_BYTES, size * size)
    matrix.set(a)
    resetTeam(team)
    await Promise.all(Array.from({ length: threads }, (_, thread) => send({ kind: 'polar', team, thread, size })))
    return matrix.slice()
  }
  const close = async () => {
    closed = true
    for (const first of waiting.splice(0)) first(undefined)
    await Promise.all(all.map((worker) => worker.terminate()))
  }
  return { threads, addProduct, assign, polar, room, pause, linalg, close }
}
