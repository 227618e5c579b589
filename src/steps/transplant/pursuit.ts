/** Orthogonal matching pursuit of rows of a tensor by other rows of it. */
import { sharedDoubles, sharedFloats, sharedInts } from '../../core/collections/sharedArrays.js'
import type { AnalysisTensor } from '../../expr/types.js'
import {
  type CosineStore,
  cosinesBytes,
  cosinesInMemory,
  type Dictionary,
  type Integers,
  integersBytes,
  integersOf,
  pursuitBytes,
  tilesOf,
} from '../../kernels/pursuit/index.js'
import { dtypeOf } from '../../views/shape.js'
import { isDecoded } from '../../views/stored.js'
import type { FoundArrays, Workshop } from '../analysis.js'
import type { ReadRows } from '../shared/rowReader.js'
import { type Approximated, roomFor, type Wanted } from './wanted.js'

/** Rows that are read at once. Two such batches are under way: one is read while threads work on the other one. */
const BATCH = 512
/** What is found of so many rows is kept together. */
export const PART = BATCH
/** Tiles of cosines until progress is told again. */
const TILES = 32
/** Threads whose memory is counted beyond what each thread has anyway. */
const [THREADS, COUNTED] = [2, 18e6]

/** Whether the lower halves of a tensor's float32 numbers are 0. */
const isHalf = ({ expr }: AnalysisTensor): boolean =>
  expr.kind === 'read' && !isDecoded(expr.view) && dtypeOf(expr.view) === 'BF16'

/** The memory that a pursuit needs at least. */
export function leastBytes(tensor: AnalysisTensor, count: number, k: number): number {
  const width = tensor.shape[1]!
  const own = Math.max(0, pursuitBytes(count, width, k) - COUNTED)
  return (isHalf(tensor) ? 2 : 4) * count * width + integersBytes(count, width) + 2 * 4 * BATCH * width + THREADS * own
}

/** Runs batches, each in one of two places, while the next one is made ready. */
function inTurns(): {
  turn: (batch: (place: number) => Promise<() => Promise<void>>) => Promise<void>
  end: () => Promise<void>
} {
  const running: (Promise<void> | undefined)[] = [undefined, undefined]
  let next = 0
  const settle = async (place: number): Promise<void> => {
    const one = running[place]
    running[place] = undefined
    await one
  }
  return {
    async turn(batch) {
      const place = next
      next = 1 - next
      await settle(place)
      const start = await batch(place)
      const before = running[1 - place]
      const own = start()
      running[place] = own.then(() => before)
      running[place].catch(() => {})
    },
    async end() {
      await settle(next)
      await settle(1 - next)
    },
  }
}

export async function pursue(workshop: Workshop, wanted: Wanted, read: ReadRows): Promise<Approximated> {
  const { tensor, shared, made, tell } = wanted
  const [, width] = tensor.shape as [number, number]
  const { team, parts } = workshop
  const count = shared.length
  const k = Math.min(wanted.k, count, width)
  const results = roomFor(made.length, k)
  const batches = batchesOf(results, made.length, k, wanted.part)
  const left = batches.filter(({ name, ...own }) => !takeOver(own, parts?.find(name)))
  if (left.length === 0) return results
  const [pairs, others] = [count / 2, left.length * BATCH]
  const share = (work: number): number => work / Math.max(1, pairs + others)
  tell('reading rows', 0)
  const { dictionary, integers } = await dictionaryOf(workshop, wanted, width, read)
  const cosines = await cosinesOf(workshop, dictionary, integers, (done) =>
    tell('products of shared rows', share(done * pairs)),
  )
  const room = [0, 1].map(() => sharedFloats(Math.min(BATCH, made.length) * width))
  const turns = inTurns()
  for (const [done, { name, from, ...own }] of left.entries())
    await turns.turn(async (place) => {
      const tokens = own.residuals.length
      const targets = room[place]!.subarray(0, tokens * width)
      await read(made.subarray(from, from + tokens), targets)
      return async () => {
        await team.pursue({
          ...{ method: 'omp', dictionary, integers, cosines, targets, tokens, k, next: sharedInts(1) },
          ...own,
        })
        parts?.keep(name, { ...own })
        await team.pause()
        tell('rows of missing tokens', share(pairs + (done + 1) * BATCH))
      }
    })
  await turns.end()
  return results
}

/** The results of some rows that follow one another. */
interface Batch extends Approximated {
  readonly name: string
  readonly from: number
}

const batchesOf = ({ atoms, weights, residuals }: Approximated, count: number, k: number, part: number): Batch[] =>
  Array.from({ length: Math.ceil(count / BATCH) }, (_, batch) => {
    const [from, to] = [batch * BATCH, Math.min(count, (batch + 1) * BATCH)]
    return {
      ...{ name: `${part}/${from}`, from, residuals: residuals.subarray(from, to) },
      ...{ atoms: atoms.subarray(from * k, to * k), weights: weights.subarray(from * k, to * k) },
    }
  })

/** Takes over what an earlier run found. False if there is nothing. */
function takeOver({ atoms, weights, residuals }: Approximated, found: FoundArrays | undefined): boolean {
  const own = { atoms, weights, residuals }
  const names = ['atoms', 'weights', 'residuals'] as const
  if (!names.every((name) => found?.[name]?.length === own[name].length)) return false
  for (const name of names) own[name].set(found![name]!)
  return true
}

/** The shared rows, exactly and as integers. */
async function dictionaryOf(
  { team }: Workshop,
  { tensor, shared }: Wanted,
  width: number,
  read: ReadRows,
): Promise<{ readonly dictionary: Dictionary; readonly integers: Integers }> {
  const count = shared.length
  const dictionary: Dictionary = {
    rows: isHalf(tensor) ? new Uint16Array(new SharedArrayBuffer(2 * count * width)) : sharedFloats(count * width),
    ...{ count, width, squares: sharedDoubles(count) },
  }
  const integers = integersOf(count, width)
  const room = [0, 1].map(() => sharedFloats(Math.min(BATCH, count) * width))
  const turns = inTurns()
  for (let first = 0; first < count; first += BATCH)
    await turns.turn(async (place) => {
      const rows = Math.min(BATCH, count - first)
      const from = room[place]!.subarray(0, rows * width)
      await read(shared.subarray(first, first + rows), from)
      return async () => {
        await team.makeRows({ from, first, rows, dictionary, integers, next: sharedInts(1) })
        await team.pause()
      }
    })
  await turns.end()
  return { dictionary, integers }
}

/** Cosines of all pairs of rows: in memory if there is enough. */
async function cosinesOf(
  { team, spare, scratch }: Workshop,
  { count, width }: Dictionary,
  integers: Integers,
  tell: (share: number) => void,
): Promise<CosineStore> {
  const bytes = cosinesBytes(count)
  const store: CosineStore =
    scratch && bytes > spare ? { kind: 'file', fd: await scratch(bytes) } : cosinesInMemory(count)
  const tiles = tilesOf(count).length
  for (let fromTile = 0; fromTile < tiles; fromTile += TILES) {
    const toTile = Math.min(tiles, fromTile + TILES)
    await team.makeCosines({ count, width, integers, store, fromTile, toTile, next: sharedInts(1) })
    await team.pause()
    tell(toTile / tiles)
  }
  return store
}
