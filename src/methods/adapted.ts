/** How adapters change a weight: not merge methods, but passes over one tensor like those of one. */
import { fault } from '../core/diagnostics.js'
import type { Passes, PassInput, TensorSettings } from './types.js'

/**
 * adapter-sum: inputs W and ΔW: kept · W + scale · ΔW, `kept` being 1 by default.
 * adapter-product: inputs X, Y and, if there are three, W: W + scale · X ⊙ Y.
 * adapter-rows, adapter-columns: inputs V and M: V ⊙ M / ‖V‖, the norms of rows or columns plus `epsilon`. M repeats one
 * number along each. `group`: this many columns after one another have one norm together (default 1).
 * adapter-pissa, adapter-olora: input W: what is left of it without the part that the adapter started from.
 * adapter-hra: inputs W and U: W times the reflections by the columns of U.
 * adapter-oft: inputs W and R: blocks of W times rotations.
 */
export type Adapted =
  | 'adapter-sum'
  | 'adapter-product'
  | 'adapter-rows'
  | 'adapter-columns'
  | 'adapter-pissa'
  | 'adapter-olora'
  | 'adapter-hra'
  | 'adapter-oft'

/** The limit exists because the sums of all columns are in memory at once. */
const MOST_COLUMNS = 2 ** 18

const RULES: Readonly<Record<Adapted, (settings: TensorSettings) => Passes>> = {
  'adapter-hra': ({ shape, parameters }) => {
    const [rows = 1, columns = 1] = shape
    const { rank = 1, orthonormal = 0 } = parameters
    const options = { rank: Number(rank), orthonormal: Number(orthonormal) }
    return {
      reduces: [],
      held: { kernel: 'hra', rows, columns, weights: [1, 1], scale: 1, options },
      map: { kernel: 'linear', coefficients: () => [1] },
    }
  },
  'adapter-oft': ({ shape, parameters }) => {
    const [rows = 1, columns = 1] = shape
    const { size = 1, vectors = 1, terms = 0 } = parameters
    const options = { size: Number(size), vectors: Number(vectors), terms: Number(terms) }
    return {
      reduces: [],
      held: { kernel: 'oft', rows, columns, weights: [1, 1], scale: 1, options },
      map: { kernel: 'linear', coefficients: () => [1] },
    }
  },
  'adapter-pissa': (settings) => startPasses('pissa')(settings),
  'adapter-olora': (settings) => startPasses('olora')(settings),
  'adapter-sum': () => ({
    reduces: [],
    map: { kernel: 'linear', coefficients: (input) => [Number(input.parameters.kept ?? 1), scaleOf(input)] },
  }),
  'adapter-product': () => ({ reduces: [], map: { kernel: 'hadamard', coefficients: (input) => [scaleOf(input)] } }),
  'adapter-rows': ({ shape, wide }) => ({
    // Squares of float64 may overflow; those of float32 cannot.
    reduces: wide ? [SQUARES, SMALL_SQUARES] : [SQUARES],
    map: {
      kernel: 'normedRows',
      coefficients: () => [],
      table: (input) => ({ per: 'row', slots: 1, values: rowNorms(input, shape[0]!) }),
    },
  }),
  'adapter-columns': ({ shape, tensor }) => {
    const columns = shape.slice(1).reduce((product, size) => product * size, 1)
    if (columns > MOST_COLUMNS)
      throw fault(
        'too-many-columns',
        `${tensor} has ${columns} columns, and terge supports norms of at most ${MOST_COLUMNS}`,
        'merge the adapter into its base with its own library, and use the result',
      )
    return {
      reduces: [{ kernel: 'columnDots', slots: 3 * columns, combine: 'sums', coefficients: () => [columns] }],
      map: {
        kernel: 'normedColumns',
        coefficients: () => [],
        table: (input) => ({ per: 'tensor', slots: columns + 1, values: columnNorms(input, columns) }),
      },
    }
  },
}

const startPasses =
  (kernel: 'pissa' | 'olora') =>
  ({ shape, parameters }: TensorSettings): Passes => {
    const [rows = 1, columns = 1] = shape
    const { rank = 1, scale = 1 } = parameters
    return {
      reduces: [],
      held: { kernel, rows, columns, weights: [1], scale: Number(scale), options: { rank: Number(rank) } },
      map: { kernel: 'linear', coefficients: () => [1] },
    }
  }

const SQUARES = { kernel: 'dots', slots: 3, combine: 'rows' } as const
const SMALL_SQUARES = { kernel: 'dots_small', slots: 3, combine: 'rows' } as const

const scaleOf = ({ parameters: { scale = 1 } }: PassInput): number => Number(scale)
const epsilonOf = ({ parameters: { epsilon = 0 } }: PassInput): number => Number(epsilon)

function rowNorms(input: PassInput, rows: number): Float64Array {
  const [squares, small] = input.results as [Float64Array, Float64Array?]
  return Float64Array.from({ length: rows }, (_, row) => {
    const square = squares[3 * row]!
    const norm = Number.isFinite(square) || !small ? Math.sqrt(square) : Math.sqrt(small[3 * row]!) * 2 ** 537
    return norm + epsilonOf(input)
  })
}

function columnNorms(input: PassInput, columns: number): Float64Array {
  const [sums] = input.results as [Float64Array]
  const group = Number(input.parameters.group ?? 1)
  const squares = new Float64Array(columns / group)
  for (let i = 0; i < columns; i++) squares[Math.floor(i / group)]! += sums[3 * i]!
  const norms = Float64Array.from({ length: columns }, (_, i) => {
    return Math.sqrt(squares[Math.floor(i / group)]!) + epsilonOf(input)
  })
  return Float64Array.from([columns, ...norms])
}

export const isAdapted = (name: string): name is Adapted => Object.hasOwn(RULES, name)

/** The passes of a change by an adapter; undefined if this is not the name of one. */
export const adaptedPasses = (name: string): ((settings: TensorSettings) => Passes) | undefined =>
  isAdapted(name) ? RULES[name] : undefined
