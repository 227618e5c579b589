/** One axis cut into several. */
import { type Axis, idsInOrder, isOne, isPlain, type Outer, ofIds, ofRuns, plain } from './axis.js'
import { stay, type Tied, type Ties } from './ties.js'

export interface Cut {
  readonly axes: readonly Axis[]
  /** How other axes of the value change: inner axes refer to outer axes. */
  readonly change: (axis: Axis) => Axis
}

const same = (axis: Axis): Axis => axis

/** Cuts an axis into axes of these lengths. A single length can be -1: the axis stays as it is. */
export function cutAxis(network: Tied, axis: Axis, lengths: readonly number[], where: string): Cut {
  const long = lengths.filter((length) => length !== 1)
  const among = (axes: readonly Axis[]): Axis[] => {
    let next = 0
    return lengths.map((length) => (length === 1 ? plain(1) : axes[next++]!))
  }
  if (long.length === 0) {
    if (!isOne(axis)) stay(network, [axis], `${where} cuts it into parts`)
    return { axes: among([]), change: same }
  }
  if (long.length === 1) return { axes: among([axis]), change: same }
  if (isPlain(axis))
    return axis.outer ? cutOuter(axis.outer, long, among) : { axes: among(long.map(plain)), change: same }
  const parts = unitsInFront(axis, long) ?? blocksOf(network.ties, axis, long)
  if (parts) return { axes: among(parts), change: same }
  stay(network, [axis], `${where} cuts it into parts`)
  return { axes: among(long.map((length) => plain(length))), change: same }
}

function cutOuter(old: Outer, lengths: readonly number[], among: (axes: readonly Axis[]) => Axis[]): Cut {
  const outers = lengths.map((): Outer => ({ mark: () => old.mark() }))
  const change = (axis: Axis): Axis => {
    const at = axis.inner?.outers.indexOf(old) ?? -1
    if (at < 0) return axis
    const { dims, outers: all, blocks, each } = axis.inner!
    const put = <T>(list: readonly T[], parts: readonly T[]) => [...list.slice(0, at), ...parts, ...list.slice(at + 1)]
    return { ...axis, inner: { dims: put(dims, lengths), outers: put(all, outers), blocks, each } }
  }
  return { axes: among(lengths.map((length, k) => ({ length, outer: outers[k]! }))), change }
}

/** Units with several places each: the first axis has the units, and the others have the places. */
function unitsInFront({ runs }: Axis, [first, ...rest]: readonly number[]): Axis[] | undefined {
  const places = rest.reduce((product, n) => product * n, 1)
  if (!runs || runs.some(({ ids, each, first, length }) => first !== undefined || (ids ? each : length) % places !== 0))
    return undefined
  const units = runs.map((run) => ({ ...run, each: run.ids ? run.each / places : 1, length: run.length / places }))
  const axis = ofRuns(units)
  return axis.length === first ? [axis, ...rest.map((length) => plain(length))] : undefined
}

/** Blocks of units, such as heads. Blocks of the same units become an axis without outer axes. */
function blocksOf(ties: Ties, axis: Axis, lengths: readonly number[]): Axis[] | undefined {
  const each = axis.runs?.[0]?.each ?? 1
  const ids = idsInOrder(axis, each)
  const size = lengths.at(-1)! / each
  if (!ids || !Number.isInteger(size)) return undefined
  const blocks = Array.from({ length: ids.length / size }, (_, k) => ids.subarray(k * size, (k + 1) * size))
  const dims = lengths.slice(0, -1)
  if (blocks.every((block) => block.every((id, k) => id === blocks[0]![k])))
    return [...dims.map((length) => plain(length)), ofIds(blocks[0]!, each)]
  let isMarked = false
  const mark = () => {
    if (!isMarked) ties.mark(ids, (k) => Math.floor(k / size))
    isMarked = true
  }
  const outers = dims.map((): Outer => ({ mark }))
  return [
    ...dims.map((length, k): Axis => ({ length, outer: outers[k]! })),
    { length: size * each, inner: { dims, outers, blocks, each } },
  ]
}
