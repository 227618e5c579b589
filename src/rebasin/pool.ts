import { Worker } from 'node:worker_threads'
import { type Assignment, createLinalg, type Linalg, type Product, TILE_COLUMNS, TILE_ROWS } from '../kernels/linalg.js'

/** Threads for matrix products and assignments. Their number decides nothing but the time. */
export interface Pool {
  readonly threads: number
  /** C += X · Yᵀ, as `Product` says. Operands from `sharedFloats` go to the workers without a copy. */
  readonly addProduct: (product: Product) => Promise<void>
  readonly assign: (scores: Float32Array, size: number, warm?: Assignment) => Promise<Assignment>
  /** For small work on the calling thread. */
  readonly linalg: Linalg
  readonly close: () => Promise<void>
}

export type Job =
  | { readonly kind: 'product'; readonly product: Product; readonly next: Int32Array }
  | { readonly kind: 'assign'; readonly scores: Float32Array; readonly size: number; readonly warm?: Assignment }

/** Below so many multiplications a message costs more than the work. */
const SMALL = 1 << 22

export const sharedFloats = (length: number): Float32Array => new Float32Array(new SharedArrayBuffer(length * 4))

/** Takes tiles off a shared counter until none is left. */
export function workTiles(linalg: Linalg, product: Product, next: Int32Array): void {
  const { m, n } = product
  const across = Math.ceil(n / TILE_COLUMNS)
  const tiles = Math.ceil(m / TILE_ROWS) * across
  for (let tile = Atomics.add(next, 0, 1); tile < tiles; tile = Atomics.add(next, 0, 1)) {
    const i = Math.floor(tile / across) * TILE_ROWS
    const j = (tile % across) * TILE_COLUMNS
    linalg.addProduct(product, i, Math.min(m, i + TILE_ROWS), j, Math.min(n, j + TILE_COLUMNS))
  }
}

export function createPool(threads: number): Pool {
  const linalg = createLinalg()
  const idle: Worker[] = []
  const waiting: ((worker: Worker) => void)[] = []
  const all: Worker[] = []

  const take = (): Promise<Worker> => {
    const ready = idle.pop()
    if (ready) return Promise.resolve(ready)
    if (all.length < threads) {
      const worker = new Worker(new URL('./worker.js', import.meta.url))
      worker.setMaxListeners(0)
      worker.unref()
      all.push(worker)
      return Promise.resolve(worker)
    }
    return new Promise((resolve) => waiting.push(resolve))
  }
  const give = (worker: Worker): void => {
    const first = waiting.shift()
    if (first) first(worker)
    else idle.push(worker)
  }
  const send = async (job: Job): Promise<unknown> => {
    const worker = await take()
    worker.ref()
    try {
      return await new Promise((resolve, reject) => {
        const done = (settle: () => void) => {
          worker.off('message', onMessage).off('error', onError).off('exit', onExit)
          settle()
        }
        const onMessage = (message: unknown) => done(() => resolve(message))
        const onError = (error: Error) => done(() => reject(error))
        const onExit = () => done(() => reject(new Error('internal: a matching worker ended early')))
        worker.on('message', onMessage).on('error', onError).on('exit', onExit)
        worker.postMessage(job)
      })
    } finally {
      worker.unref()
      give(worker)
    }
  }

  const addProduct: Pool['addProduct'] = async (product) => {
    const { c, x, y, m, n, k } = product
    const tiles = Math.ceil(m / TILE_ROWS) * Math.ceil(n / TILE_COLUMNS)
    const shared = [c, x, y].every((array) => array.buffer instanceof SharedArrayBuffer)
    const next = new Int32Array(new SharedArrayBuffer(4))
    if (threads < 2 || !shared || m * n * k < SMALL) return workTiles(linalg, product, next)
    const jobs = Array.from({ length: Math.min(threads, tiles) }, () => send({ kind: 'product', product, next }))
    await Promise.all(jobs)
  }
  const assign: Pool['assign'] = async (scores, size, warm) => {
    const shared = scores.buffer instanceof SharedArrayBuffer
    if (threads < 2 || !shared || size < 256) return linalg.assign(scores, size, warm)
    return (await send({ kind: 'assign', scores, size, ...(warm ? { warm } : {}) })) as Assignment
  }
  const close = async () => {
    await Promise.all(all.map((worker) => worker.terminate()))
  }
  return { threads, addProduct, assign, linalg, close }
}
