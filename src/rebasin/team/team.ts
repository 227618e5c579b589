import { sharedInts } from '../../core/collections/sharedArrays.js'
import { aligned, WebAssembly } from '../../core/webassembly.js'
import { polarBytes } from '../../kernels/dense/polar.js'
import { createTeamMemory, resetTeam, Stopped, TEAM_BYTES } from '../../kernels/dense/team.js'
import {
  type Assignment,
  assignBytes,
  assignmentAt,
  createLinalg,
  type Linalg,
  type Product,
  tileOf,
} from '../../kernels/linalg.js'
import {
  type CosinesTask,
  type PursuitTask,
  pursuer,
  type RowsTask,
  type SumsTask,
} from '../../kernels/pursuit/index.js'
import { readAt, writeAt } from '../../storage/nameless.js'
import { doPursuit, jobWorkers, type PursuitJob } from './jobWorkers.js'

/** Threads for matrix products, assignments and polar factors. Their number decides nothing but the time. */
export interface ThreadTeam {
  readonly threads: number
  /** C += X · Yᵀ, as `Product` says. C and the operands' data from `sharedFloats` go to the workers without a copy. */
  readonly addProduct: (product: Product) => Promise<void>
  readonly assign: (scores: Float32Array, size: number, warm?: Assignment) => Promise<Assignment>
  /**
   * The team's one room for scores, with space for so many numbers: assignments of squares of up to `side` that lie in it need no
   * copy of them. Who asks for it owns it, with whatever it holds, until somebody asks again.
   */
  readonly room: (length: number, side: number) => Float32Array
  /** Lets the event loop turn. Throws where the team was closed. */
  readonly pause: () => Promise<void>
  /** The rotation R that maximises tr(RᵀA) for a square matrix, row-major. */
  readonly polar: (a: ArrayLike<number>, size: number) => Promise<Float64Array>
  /** Approximates rows. The arrays of the task go to the workers without a copy. */
  readonly pursue: (task: PursuitTask) => Promise<void>
  /** Makes rows of a dictionary, and cosines of pairs of them: the same way. */
  readonly makeRows: (task: RowsTask) => Promise<void>
  readonly makeCosines: (task: CosinesTask) => Promise<void>
  readonly sumRows: (task: SumsTask) => Promise<void>
  /** For small work on the calling thread. */
  readonly linalg: Linalg
  /** Ends what is under way: it rejects. */
  readonly close: () => Promise<void>
}

/** Below so many multiplications a message costs more than the work. */
const SMALL = 1 << 25
const SMALL_SQUARE = 512
/** Up to this size a polar factor is found by the calling thread. */
const SMALL_POLAR = 128

/** Below so many steps over rows, the calling thread approximates them itself. */
const SMALL_PURSUIT = 1 << 24

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
export function createThreadTeam(threads: number): ThreadTeam {
  const linalg = createLinalg()
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 65536, shared: true })
  /** Its buffers: a new one each time that it grows. */
  const buffers = new WeakSet<ArrayBufferLike>()
  /** Where assignments find room beside the scores. */
  let beside = TEAM_BYTES
  const { send, isClosed, close } = jobWorkers(threads, memory)

  const addProduct: ThreadTeam['addProduct'] = async (product) => {
    const { c, x, y } = product
    const [m, n, k] = [x.units.length, y.units.length, x.rests.length]
    const { rows, columns } = tileOf(product)
    const tiles = Math.ceil(m / rows) * Math.ceil(n / columns)
    const shared = [c, x.data, y.data].every((array) => array.buffer instanceof SharedArrayBuffer)
    const next = sharedInts(1)
    if (!shared || m * n * k < SMALL) return workTiles(linalg, product, next)
    const jobs = Array.from({ length: Math.min(threads, tiles) }, () => send({ kind: 'product', product, next }))
    await Promise.all(jobs)
  }
  const assign: ThreadTeam['assign'] = async (scores, size, warm) => {
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
  const room: ThreadTeam['room'] = (length, side) => {
    beside = aligned(TEAM_BYTES + 4 * length)
    const missing = beside + assignBytes(side) - memory.buffer.byteLength
    if (missing > 0) memory.grow(Math.ceil(missing / 65536))
    buffers.add(memory.buffer)
    return new Float32Array(memory.buffer, TEAM_BYTES, length)
  }
  const pause: ThreadTeam['pause'] = async () => {
    await new Promise((resolve) => setImmediate(resolve))
    if (isClosed()) throw new Stopped()
  }
  const polar: ThreadTeam['polar'] = async (a, size) => {
    if (size <= SMALL_POLAR) return linalg.polar(Float64Array.from(a), size)
    const team = createTeamMemory(polarBytes(size), threads)
    const matrix = new Float64Array(team.memory.buffer, TEAM_BYTES, size * size)
    matrix.set(a)
    resetTeam(team)
    await Promise.all(Array.from({ length: threads }, (_, thread) => send({ kind: 'polar', team, thread, size })))
    return matrix.slice()
  }
  let own: ReturnType<typeof pursuer> | undefined
  /** Small work is done here. */
  const approximate = async (steps: number, shares: number, job: PursuitJob): Promise<void> => {
    if (steps < SMALL_PURSUIT) {
      own ??= pursuer({ readAt, writeAt })
      return doPursuit(own, job)
    }
    await Promise.all(Array.from({ length: Math.min(threads, shares) }, () => send(job)))
  }
  const pursue: ThreadTeam['pursue'] = (task) => {
    const { tokens, dictionary, k } = task
    return approximate(tokens * k * (dictionary.count + dictionary.width), tokens, { kind: 'pursuit', task })
  }
  const makeRows: ThreadTeam['makeRows'] = (task) =>
    approximate(16 * task.from.length, task.rows, { kind: 'rows', task })
  const makeCosines: ThreadTeam['makeCosines'] = (task) =>
    approximate(task.count ** 2 * (task.width / 8), task.toTile - task.fromTile, { kind: 'cosines', task })
  const sumRows: ThreadTeam['sumRows'] = (task) =>
    approximate(task.tokens * task.k * task.width, task.tokens, { kind: 'sums', task })
  return { threads, pursue, makeRows, makeCosines, sumRows, addProduct, assign, polar, room, pause, linalg, close }
}
