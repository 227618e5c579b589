/** Several axes put together to one. */
import { type Axis, concatAxes, isOne, isPlain, type Outer, ofIds, plain, spreadRuns } from './axis.js'
import { stay, type Tied } from './ties.js'

export interface Merged {
  readonly axis: Axis
  /** How other axes of the value change: inner axes refer to outer axes. */
  readonly change: (axis: Axis) => Axis
}

/** More copies of the same units than this are not listed. */
const MOST_COPIES = 4096

const same = (axis: Axis): Axis => axis

export function mergeAxes(network: Tied, axes: readonly Axis[], where: string): Merged {
  const long = axes.filter((axis) => !isOne(axis))
  if (long.length < 2) return { axis: long[0] ?? plain(1), change: same }
  const length = long.reduce<number | undefined>(
    (product, axis) => (product === undefined || axis.length === undefined ? undefined : product * axis.length),
    1,
  )
  const sized = plain(length !== undefined && Number.isSafeInteger(length) ? length : undefined)
  const whole = restored(long) ?? partlyRestored(long)
  if (whole) return { axis: whole, change: same }
  if (long.every(isPlain)) return mergedOuters(long, sized)
  const units = flattenedUnits(long, sized) ?? copies(long)
  if (units) return { axis: units, change: same }
  stay(network, long, `${where} flattens it with another axis`)
  return { axis: sized, change: same }
}

/** An inner axis with all of its outer axes, in any order: the axis that was cut, possibly in another order. */
function restored(axes: readonly Axis[]): Axis | undefined {
  const at = axes.findIndex(({ inner }) => inner)
  const { inner } = axes[at] ?? {}
  if (!inner || inner.outers.length !== axes.length - 1) return undefined
  const order = axes.map((axis, i) => (i === at ? axes.length - 1 : inner.outers.indexOf(axis.outer!)))
  if (order.some((place) => place < 0) || new Set(order).size !== order.length) return undefined
  // Places of a unit stay together only if the inner axis is last.
  if (inner.each > 1 && at !== axes.length - 1) return undefined
  const lengths = [...inner.dims, inner.blocks[0]?.length ?? 0]
  const total = lengths.reduce((product, n) => product * n, 1)
  const ids = new Int32Array(total)
  const place = new Int32Array(lengths.length)
  for (let at = 0; at < total; at++) {
    const block = inner.dims.reduce((index, n, k) => index * n + place[k]!, 0)
    ids[at] = inner.blocks[block]![place.at(-1)!]!
    // The next place, in the order of the merged axes.
    for (let k = order.length - 1; k >= 0; k--) {
      const axis = order[k]!
      if (++place[axis]! < lengths[axis]!) break
      place[axis] = 0
    }
  }
  return ofIds(ids, inner.each)
}

/** An inner axis with the last ones of its outer axes, in order. */
function partlyRestored(axes: readonly Axis[]): Axis | undefined {
  const { inner } = axes.at(-1)!
  const count = axes.length - 1
  if (!inner || inner.outers.length <= count) return undefined
  const left = inner.outers.length - count
  if (axes.slice(0, -1).some(({ outer }, i) => outer === undefined || outer !== inner.outers[left + i]))
    return undefined
  const size = inner.dims.slice(left).reduce((product, n) => product * n, 1)
  const blocks = Array.from({ length: inner.blocks.length / size }, (_, k) =>
    Int32Array.from(inner.blocks.slice(k * size, (k + 1) * size).flatMap((ids) => [...ids])),
  )
  return {
    length: (blocks[0]?.length ?? 0) * inner.each,
    inner: { ...inner, dims: inner.dims.slice(0, left), outers: inner.outers.slice(0, left), blocks },
  }
}

/** Outer axes put together, or one repeated: inner axes then refer to the new one. */
function mergedOuters(axes: readonly Axis[], sized: Axis): Merged {
  const outers = axes.flatMap(({ outer }) => (outer ? [outer] : []))
  if (outers.length === 0 || sized.length === undefined) return { axis: sized, change: same }
  const outer: Outer = {
    mark: () => {
      for (const each of outers) each.mark()
    },
  }
  const change = (axis: Axis): Axis => {
    const { inner } = axis
    const first = inner?.outers.indexOf(outers[0]!) ?? -1
    if (!inner || first < 0 || outers.some((each, k) => inner.outers[first + k] !== each)) return axis
    const count = outers.length
    const behind = inner.dims.slice(first + count).reduce((product, n) => product * n, 1)
    const taken = inner.dims.slice(first, first + count).reduce((product, n) => product * n, 1)
    const front = inner.dims.slice(0, first).reduce((product, n) => product * n, 1)
    const blocks: Int32Array[] = []
    for (let before = 0; before < front; before++)
      for (const place of placesIn(axes, taken))
        for (let after = 0; after < behind; after++)
          blocks.push(inner.blocks[(before * taken + place) * behind + after]!)
    const dims = [...inner.dims.slice(0, first), sized.length!, ...inner.dims.slice(first + count)]
    const all = [...inner.outers.slice(0, first), outer, ...inner.outers.slice(first + count)]
    return { ...axis, inner: { ...inner, dims, outers: all, blocks } }
  }
  return { axis: { ...sized, outer }, change }
}

/** By place of the merged axis, the place of its outer axes: plain axes in front repeat them, and those behind spread them. */
function placesIn(axes: readonly Axis[], taken: number): number[] {
  const isOuter = axes.map(({ outer }) => outer !== undefined)
  const [first, last] = [isOuter.indexOf(true), isOuter.lastIndexOf(true)]
  const product = (part: readonly Axis[]) => part.reduce((all, { length }) => all * length!, 1)
  const [before, behind] = [product(axes.slice(0, first)), product(axes.slice(last + 1))]
  return Array.from({ length: before }, () =>
    Array.from({ length: taken }, (_, place) => Array<number>(behind).fill(place)).flat(),
  ).flat()
}

/** Units in front of places: each unit has all of these places. */
function flattenedUnits([first, ...rest]: readonly Axis[], sized: Axis): Axis | undefined {
  if (!first?.runs || !rest.every(isPlain)) return undefined
  if (sized.length !== undefined) {
    const runs = spreadRuns(first.runs, sized.length / first.length!)
    return runs && { ...sized, runs }
  }
  const [run] = first.runs
  if (first.runs.length === 1 && run!.ids && run!.each === 1) return { flattened: run!.ids }
  return undefined
}

/** Units behind places: all units again for each place. */
function copies(axes: readonly Axis[]): Axis | undefined {
  const units = axes.at(-1)!
  const before = axes.slice(0, -1)
  if (!units.runs || !before.every(isPlain)) return undefined
  const count = before.reduce<number>((product, { length }) => product * (length ?? Number.NaN), 1)
  return count * units.runs.length <= MOST_COPIES ? concatAxes(Array<Axis>(count).fill(units)) : undefined
}
