/**
 * Finds the key at a position in the ranking by magnitude: exactly, and with the same memory for tensors of every size.
 *
 * Keys are the bits of the magnitude as float32. Two histograms find the key K at a position: one of the upper half of
 * the bits, then one of the lower half within one bin. If only some of the elements with key K are selected, they are
 * the first by index: counts per tile find the tile with the last of them, and a pass over that tile finds its index.
 * Passes that are not needed are skipped.
 */
import type { PassInput, ReducePass, TensorSettings } from '../types.js'

/** A position to look up: 0 is the largest magnitude. */
export interface Position {
  /** The index of the input. */
  readonly model: number
  readonly position: number | ((input: PassInput) => number)
}

/** The key at a position and its neighbourhood. */
export interface Threshold {
  readonly key: number
  /** The number of elements with a larger key; `equal`: with this key. */
  readonly larger: number
  readonly equal: number
  /** The number of equal elements up to the position, including it. */
  readonly wanted: number
  /** The index after the last of those. */
  readonly cut: number
}

/** The source of the keys. The kernel names start with it. */
export type KeySource = '' | 'variance_' | 'importance_' | 'formula_'

export interface Selection {
  readonly passes: readonly ReducePass[]
  /** The threshold of each position, after all passes. */
  readonly thresholds: (input: PassInput) => readonly Threshold[]
}

export interface SelectionOptions {
  readonly source?: KeySource
  /** The number of earlier passes in the method. */
  readonly after?: number
  /** False: only the key is needed, not which of the equal elements count. */
  readonly indexes?: boolean
  readonly table?: ReducePass['table']
  /** For variances: computes the position from the number of elements with a key other than 0; −1 for none. */
  readonly positionOf?: (nonZero: number) => number
}

const COARSE = 2 ** 15
const FINE = 2 ** 16
/** From this key on, magnitudes overflow float32. */
const BEYOND = 0x7f800000

/** A threshold above all keys, so that nothing is selected. */
const NONE = { key: 0x7fffffff, larger: 0, equal: 0, wanted: 0 }
/** Models per pass. This limits the size of the histograms. */
const MODELS_A_PASS = 4

export const elementsOf = ({ shape }: Pick<TensorSettings, 'shape'>): number =>
  shape.reduce((product, size) => product * size, 1)

/** The bin with the position, and the number of elements in higher bins. */
function descend(
  bins: (index: number) => number,
  count: number,
  above: number,
  position: number,
): [bin: number, above: number] {
  let larger = above
  for (let bin = count - 1; bin >= 0; bin--) {
    if (larger + bins(bin) > position) return [bin, larger]
    larger += bins(bin)
  }
  throw new Error('internal: fewer elements than the position asks for')
}

/** Formulas rank numbers of any sign: their keys have one bit more, and one table for elements of even and odd index. */
const hasSigns = ({ source }: SelectionOptions): boolean => source === 'formula_'

/** Passes that look up positions of at most MODELS_A_PASS models. */
interface Group {
  readonly positions: readonly Position[]
  /** Index of the first pass in the method. */
  readonly at: number
  readonly elements: number
  readonly options: SelectionOptions
}

const kernelOf = <Name extends 'coarse' | 'fine' | 'equals' | 'nth'>(
  { options: { source = '' } }: Group,
  name: Name,
): `${KeySource}${Name}` => `${source}${name}`

const tableOf = ({ options: { table } }: Group): Pick<ReducePass, 'table'> => (table ? { table } : {})

/** Counts keys by the upper half of their bits. By position: the position, its bin, and the number of elements in higher bins. */
function coarsePass(group: Group): ReducePass {
  const { positions, elements, options } = group
  const { positionOf } = options
  const models = [...new Set(positions.map(({ model }) => model))]
  return {
    kernel: kernelOf(group, 'coarse'),
    slots: models.length * 2 * COARSE + (positionOf ? 1 : 0),
    combine: 'counts',
    coefficients: () => [models.length, ...models],
    ...tableOf(group),
    conclude: (counts, input) =>
      Float64Array.from(
        positions.flatMap(({ model, position }) => {
          const from = models.indexOf(model) * 2 * COARSE
          const signs = hasSigns(options)
          const bins = (bin: number) => counts[from + bin]! + (signs ? 0 : counts[from + COARSE + bin]!)
          const known = typeof position === 'number' ? position : position(input)
          const wanted = positionOf ? positionOf(elements - counts.at(-1)!) : known
          return wanted < 0 ? [wanted, 0, 0] : [wanted, ...descend(bins, signs ? 2 * COARSE : COARSE, 0, wanted)]
        }),
      ),
  }
}

/** Counts keys of one bin by the lower half of their bits. By position: key, larger, equal, wanted. */
function finePass(group: Group): ReducePass {
  const { positions, at } = group
  return {
    kernel: kernelOf(group, 'fine'),
    slots: positions.length * FINE,
    combine: 'counts',
    skip: ({ results }) => results[at]![0]! < 0,
    coefficients: ({ results }) => [
      positions.length,
      ...positions.flatMap(({ model }, index) => [model, results[at]![3 * index + 1]!, index]),
    ],
    ...tableOf(group),
    conclude: (counts, { results }) =>
      Float64Array.from(
        positions.flatMap((_, index) => {
          const [position, bucket, above] = results[at]!.subarray(3 * index)
          const bins = (bin: number) => counts[index * FINE + bin]!
          const [low, larger] = descend(bins, FINE, above!, position!)
          return [bucket! * FINE + low, larger, bins(low), position! + 1 - larger]
        }),
      ),
  }
}

/** What the first two passes found for a position. */
function found({ at }: Group, { results }: PassInput, index: number): Omit<Threshold, 'cut'> {
  if (results[at + 1]!.length === 0) return NONE
  const [key, larger, equal, wanted] = results[at + 1]!.subarray(4 * index)
  return { key: key!, larger: larger!, equal: equal!, wanted: wanted! }
}

/** All elements with the position's key are wanted, so it does not matter where they lie. */
function settled(group: Group, input: PassInput, index: number): boolean {
  const { equal, wanted } = found(group, input, index)
  return equal === wanted
}

/**
 * Counts the elements with a position's key in each tile. By position: the tile with
 * the last wanted one, and how many of that tile's are wanted.
 */
function equalsPass(group: Group): ReducePass {
  const { positions } = group
  return {
    kernel: kernelOf(group, 'equals'),
    slots: positions.length,
    combine: 'tiles',
    ...tableOf(group),
    skip: (input) => positions.every((_, index) => settled(group, input, index)),
    coefficients: (input) => [
      positions.length,
      ...positions.flatMap(({ model }, index) => [
        model,
        settled(group, input, index) ? -1 : found(group, input, index).key,
      ]),
    ],
    conclude: (tiles, input) =>
      Float64Array.from(
        positions.flatMap((_, index) => {
          if (settled(group, input, index)) return [-1, 0]
          let left = found(group, input, index).wanted
          let tile = 0
          while (left > tiles[tile * positions.length + index]!) left -= tiles[tile++ * positions.length + index]!
          return [tile, left]
        }),
      ),
  }
}

/** Finds a position's last wanted element in its tile. */
function nthPass(group: Group, { model }: Position, index: number): ReducePass {
  const { at } = group
  return {
    kernel: kernelOf(group, 'nth'),
    slots: 2,
    combine: 'sums',
    ...tableOf(group),
    skip: (input) => settled(group, input, index),
    tile: ({ results }) => results[at + 2]![2 * index]!,
    coefficients: (input) => [model, found(group, input, index).key, input.results[at + 2]![2 * index + 1]!],
  }
}

function selectionOf(group: Group): Selection {
  const { positions, at, elements, options } = group
  const { indexes = true } = options
  const keys = [coarsePass(group), finePass(group)]
  const cutOf = (input: PassInput, index: number): number =>
    !indexes || settled(group, input, index) ? elements : input.results[at + 3 + index]![0]!
  return {
    passes: indexes
      ? [...keys, equalsPass(group), ...positions.map((position, index) => nthPass(group, position, index))]
      : keys,
    thresholds: (input) =>
      positions.map((_, index) => {
        const threshold = found(group, input, index)
        if (!hasSigns(options) && threshold.key >= BEYOND && threshold.wanted < threshold.equal)
          input.note?.('elements were ranked by index: magnitudes beyond float32 count as equal')
        return { ...threshold, cut: cutOf(input, index) }
      }),
  }
}

/** Looks up positions in order. Positions of one model should be adjacent. */
export function select(
  settings: TensorSettings,
  positions: readonly Position[],
  options: SelectionOptions = {},
): Selection {
  const groups: Selection[] = []
  let at = options.after ?? 0
  const models = [...new Set(positions.map(({ model }) => model))]
  for (let from = 0; from < models.length; from += MODELS_A_PASS) {
    const some = new Set(models.slice(from, from + MODELS_A_PASS))
    const own = positions.filter(({ model }) => some.has(model))
    const next = selectionOf({ positions: own, at, elements: elementsOf(settings), options })
    groups.push(next)
    at += next.passes.length
  }
  return {
    passes: groups.flatMap(({ passes }) => passes),
    thresholds: (input) => groups.flatMap(({ thresholds }) => thresholds(input)),
  }
}
