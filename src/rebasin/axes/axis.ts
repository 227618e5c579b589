/** Axes of a graph's values: which units their places belong to. */

/** A run of an axis: `each` consecutive places for every id, in order. Without ids: places that keep their order. */
export interface Run {
  readonly ids?: Int32Array
  readonly each: number
  /** Of a run of a single id with only some of its places: the first of them. */
  readonly first?: number
  readonly length: number
}

export interface Axis {
  /** Places, if known. */
  readonly length?: number
  /** The units of its places. Without runs and blocks, the places keep their order. */
  readonly runs?: readonly Run[]
  /** Flattened units, with an unknown number of places each: the first axis that it meets says how many. */
  readonly flattened?: Int32Array
  /** All places have the same value, so their order does not matter: an axis that was repeated from one place. */
  readonly uniform?: true
  /** One part of an axis that was cut into `outer` axes and this last one, such as heads and their units. */
  readonly inner?: Inner
  /** An outer axis of such a cut. Its places keep their order. */
  readonly outer?: Outer
}

/** Identifies an outer axis, by identity. */
export interface Outer {
  /** To be called where an operator treats the places of the outer axis differently: no unit can leave its block then. */
  readonly mark: () => void
}

export interface Inner {
  /** The lengths of the outer axes. */
  readonly dims: readonly number[]
  readonly outers: readonly Outer[]
  /** The ids at each place of the outer axes, in row-major order. */
  readonly blocks: readonly Int32Array[]
  /** Places of each id. */
  readonly each: number
}

/** Of a tensor that is not a parameter. */
export const constantAxes = ({
  dims,
  uniform,
}: {
  readonly dims: readonly number[]
  readonly uniform?: true
}): Axis[] => dims.map((length) => ({ length, ...(uniform ? { uniform } : {}) }))

export const plain = (length?: number): Axis => (length === undefined ? {} : { length })

/** One place, without units. */
export const isOne = (axis: Axis): boolean => axis.length === 1 && !axis.runs && !axis.inner

/** Whether its places keep their order whatever happens. */
export const isPlain = (axis: Axis): boolean => !axis.runs && !axis.flattened && !axis.inner

/** All ids of an axis. */
export function idsOf({ runs, flattened, inner }: Axis): Int32Array[] {
  const ids = (runs ?? []).flatMap((run) => (run.ids ? [run.ids] : []))
  return [...ids, ...(flattened ? [flattened] : []), ...(inner?.blocks ?? [])]
}

const total = (runs: readonly Run[]): number => runs.reduce((sum, { length }) => sum + length, 0)

export const ofRuns = (runs: readonly Run[]): Axis => ({ length: total(runs), runs })

export const ofIds = (ids: Int32Array, each = 1): Axis => ofRuns([{ ids, each, length: ids.length * each }])

/** Places in a row of an axis, of which the length is known. */
export function sliceAxis({ runs }: Axis, start: number, count: number): Axis {
  if (!runs) return { length: count }
  const found: Run[] = []
  let at = 0
  for (const run of runs) {
    const [from, to] = [Math.max(start, at) - at, Math.min(start + count, at + run.length) - at]
    if (from < to) found.push(...sliceRun(run, from, to))
    at += run.length
  }
  return ofRuns(found)
}

/** The places from `from` to before `to` of a run. Units at its ends may be there in part. */
function sliceRun(run: Run, from: number, to: number): Run[] {
  const { ids, each, first = 0 } = run
  if (!ids) return [{ each: 1, length: to - from }]
  if (run.first !== undefined) return [{ ids, each, first: first + from, length: to - from }]
  const parts: Run[] = []
  for (let at = from; at < to; ) {
    const [index, inside] = [Math.floor(at / each), at % each]
    const whole = inside === 0 ? Math.floor((to - at) / each) : 0
    if (whole > 0) {
      parts.push({ ids: ids.subarray(index, index + whole), each, length: whole * each })
      at += whole * each
    } else {
      const length = Math.min(each - inside, to - at)
      parts.push({ ids: ids.subarray(index, index + 1), each, first: inside, length })
      at += length
    }
  }
  return parts
}

/** Axes one after another; undefined if a length is unknown. */
export function concatAxes(axes: readonly Axis[]): Axis | undefined {
  if (axes.some(({ length }) => length === undefined)) return undefined
  if (axes.every(({ runs }) => !runs)) return { length: axes.reduce((sum, { length }) => sum + length!, 0) }
  return ofRuns(axes.flatMap(({ runs, length }): readonly Run[] => runs ?? [{ each: 1, length: length! }]))
}

/** Each place `times` times in a row. */
export function spreadRuns(runs: readonly Run[], times: number): readonly Run[] | undefined {
  if (runs.some(({ first }) => first !== undefined)) return undefined
  return runs.map((run) => ({ ...run, each: run.ids ? run.each * times : 1, length: run.length * times }))
}

/** The ids of an axis in order, if each has `each` places and no place is without. */
export function idsInOrder({ runs }: Axis, each = 1): Int32Array | undefined {
  if (!runs || runs.some((run) => !run.ids || run.each !== each || run.first !== undefined)) return undefined
  if (runs.length === 1) return runs[0]!.ids
  const all = new Int32Array(total(runs) / each)
  let at = 0
  for (const { ids } of runs) {
    all.set(ids!, at)
    at += ids!.length
  }
  return all
}

/** The axes of a value, or undefined if even their number is unknown: then all of them keep their order. */
export type Value = readonly Axis[] | undefined
