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
  readonly position: number
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
export type KeySource = '' | 'variance_' | 'importance_'

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

/** Passes that look up positions of at most MODELS_A_PASS models. `at` is the index of the first pass. */
function group(
  settings: TensorSettings,
  positions: readonly Position[],
  at: number,
  options: SelectionOptions,
): { passes: readonly ReducePass[]; thresholds: (input: PassInput) => readonly Threshold[] } {
  const { source = '', indexes = true, positionOf } = options
  const elements = elementsOf(settings)
  const table = options.table ? { table: options.table } : {}
  const models = [...new Set(positions.map(({ model }) => model))]
  const coarse: ReducePass = {
    kernel: `${source}coarse`,
    slots: models.length * 2 * COARSE + (positionOf ? 1 : 0),
    combine: 'counts',
    coefficients: () => [models.length, ...models],
    ...table,
    // By position: the position, its bin, and the number of elements in higher bins.
    conclude: (counts) =>
      Float64Array.from(
        positions.flatMap(({ model, position }) => {
          const from = models.indexOf(model) * 2 * COARSE
          const bins = (bin: number) => counts[from + bin]! + counts[from + COARSE + bin]!
          const wanted = positionOf ? positionOf(elements - counts.at(-1)!) : position
          return wanted < 0 ? [wanted, 0, 0] : [wanted, ...descend(bins, COARSE, 0, wanted)]
        }),
      ),
  }
  const fine: ReducePass = {
    kernel: `${source}fine`,
    slots: positions.length * FINE,
    combine: 'counts',
    skip: ({ results }) => results[at]![0]! < 0,
    coefficients: ({ results }) => [
      positions.length,
      ...positions.flatMap(({ model }, index) => [model, results[at]![3 * index + 1]!, index]),
    ],
    ...table,
    // By position: key, larger, equal, wanted.
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
  const found = ({ results }: PassInput, index: number) => {
    if (results[at + 1]!.length === 0) return NONE
    const [key, larger, equal, wanted] = results[at + 1]!.subarray(4 * index)
    return { key: key!, larger: larger!, equal: equal!, wanted: wanted! }
  }
  const noted = (input: PassInput, threshold: ReturnType<typeof found>) => {
    if (threshold.key >= BEYOND && threshold.wanted < threshold.equal)
      input.note?.('elements were ranked by index: magnitudes beyond float32 count as equal')
    return threshold
  }
  const settled = (input: PassInput, index: number) => {
    const { equal, wanted } = found(input, index)
    return equal === wanted
  }
  const equals: ReducePass = {
    kernel: `${source}equals`,
    slots: positions.length,
    combine: 'tiles',
    skip: (input) => positions.every((_, index) => settled(input, index)),
    coefficients: (input) => [
      positions.length,
      ...positions.flatMap(({ model }, index) => [model, settled(input, index) ? -1 : found(input, index).key]),
    ],
    // By position: the tile of the last wanted element, and how many wanted elements that tile has.
    conclude: (tiles, input) =>
      Float64Array.from(
        positions.flatMap((_, index) => {
          if (settled(input, index)) return [-1, 0]
          let left = found(input, index).wanted
          let tile = 0
          while (left > tiles[tile * positions.length + index]!) left -= tiles[tile++ * positions.length + index]!
          return [tile, left]
        }),
      ),
  }
  const nth = positions.map(
    ({ model }, index): ReducePass => ({
      kernel: `${source}nth`,
      slots: 2,
      combine: 'sums',
      skip: (input) => settled(input, index),
      tile: ({ results }) => results[at + 2]![2 * index]!,
      coefficients: (input) => [model, found(input, index).key, input.results[at + 2]![2 * index + 1]!],
    }),
  )
  return {
    passes: indexes ? [coarse, fine, equals, ...nth] : [coarse, fine],
    thresholds: (input) =>
      positions.map((_, index) => ({
        ...noted(input, found(input, index)),
        cut: !indexes || settled(input, index) ? elements : input.results[at + 3 + index]![0]!,
      })),
  }
}

/** Looks up positions in order. Positions of one model should be adjacent. */
export function select(
  settings: TensorSettings,
  positions: readonly Position[],
  options: SelectionOptions = {},
): Selection {
  const groups: ReturnType<typeof group>[] = []
  let at = options.after ?? 0
  const models = [...new Set(positions.map(({ model }) => model))]
  for (let from = 0; from < models.length; from += MODELS_A_PASS) {
    const some = new Set(models.slice(from, from + MODELS_A_PASS))
    const next = group(
      settings,
      positions.filter(({ model }) => some.has(model)),
      at,
      options,
    )
    groups.push(next)
    at += next.passes.length
  }
  return {
    passes: groups.flatMap(({ passes }) => passes),
    thresholds: (input) => groups.flatMap(({ thresholds }) => thresholds(input)),
  }
}
