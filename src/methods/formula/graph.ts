/**
 * A formula for one number of models, with its parameters: functions over models are written out, equal parts are one value, and
 * what is known becomes a number. Values come after their operands.
 */
import type { Operation } from '../../kernels/formula.js'
import type { ScalarMath } from '../../kernels/types.js'
import type { FormulaFault } from './types.js'

/** A function of numbers that differ between elements, or that are known only when tensors have been read. */
export type Apply = Exclude<Operation, Condition | 'move' | 'delta' | 'multiplyAdd' | 'term' | 'whereRanked'>
/** Other comparisons are these with operands or results exchanged. */
export type Condition = 'whereGreater' | 'whereAtLeast' | 'whereEqual' | 'whereOther'

export type Value =
  | { readonly kind: 'constant'; readonly value: number }
  | { readonly kind: 'input' | 'delta'; readonly index: number }
  | { readonly kind: 'base' }
  /** The result of a reduction. */
  | { readonly kind: 'measured'; readonly reduction: number }
  | { readonly kind: 'apply'; readonly operation: Apply; readonly args: readonly number[] }
  | { readonly kind: 'where'; readonly operation: Condition; readonly args: readonly number[] }
  /** args: what is ranked by a quantile of its own, and what to choose. */
  | { readonly kind: 'ranked'; readonly reduction: number; readonly args: readonly number[] }

export type ReductionName = 'tensor_norm' | 'tensor_mean' | 'tensor_max' | 'tensor_quantile'

/** A number of a whole tensor. */
export interface Reduction {
  readonly name: ReductionName
  /** The value that it is of. */
  readonly of: number
  /** The value that is the share of elements from a quantile on. */
  readonly share?: number
  /** How many reductions must come before, one inside the other. */
  readonly level: number
}

/** What is known of a value. */
export interface Facts {
  /** It differs between elements. */
  readonly element: boolean
  /** How many reductions must come before it. */
  readonly level: number
  /** About its value, if no tensor is needed for that. Exact for constants. */
  readonly near?: number
}

export interface Graph {
  readonly values: readonly Value[]
  readonly facts: readonly Facts[]
  readonly reductions: readonly Reduction[]
  readonly root: number
  readonly faults: readonly FormulaFault[]
}

/** The values that a value is computed from. A reduction names its own. */
export const argsOf = (value: Value): readonly number[] => ('args' in value ? value.args : [])

/** The value of an operation on numbers, in float64. Undefined for functions that engines round differently. */
export function exactly(operation: Apply | Condition, args: readonly number[]): number | undefined {
  const [a = 0, b = 0, c = 0, d = 0] = args
  switch (operation) {
    case 'add':
      return a + b
    case 'subtract':
      return a - b
    case 'multiply':
      return a * b
    case 'divide':
      return a / b
    case 'min':
      return Math.min(a, b)
    case 'max':
      return Math.max(a, b)
    case 'negate':
      return -a
    case 'abs':
      return Math.abs(a)
    case 'sqrt':
      return Math.sqrt(a)
    case 'sign':
      return Math.sign(a)
    case 'median':
      return medianOf(args)
    case 'power':
    case 'exp':
    case 'log':
    case 'tanh':
      return undefined
    default:
      return Number.isNaN(a) || Number.isNaN(b) ? Number.NaN : holds(operation, a, b) ? c : d
  }
}

function holds(operation: Condition, a: number, b: number): boolean {
  if (operation === 'whereGreater') return a > b
  if (operation === 'whereAtLeast') return a >= b
  return (a === b) === (operation === 'whereEqual')
}

/** As the kernel: zeros of both signs are equal and keep their order. */
function medianOf(args: readonly number[]): number {
  if (args.some(Number.isNaN)) return Number.NaN
  const sorted = [...args].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0))
  const middle = sorted.length >> 1
  const [low, high] = [sorted[middle - 1]!, sorted[middle]!]
  if (sorted.length % 2 === 1) return high
  const mean = (low + high) * 0.5
  return Math.abs(mean) === Number.POSITIVE_INFINITY ? low * 0.5 + high * 0.5 : mean
}

/** The value of any operation on numbers. `math`: the functions that `exactly` leaves out. */
export function applied(
  operation: Apply | Condition,
  args: readonly number[],
  math: Pick<ScalarMath, 'exp' | 'log' | 'tanh' | 'pow'>,
): number {
  const [a = 0, b = 0] = args
  if (operation === 'power') return math.pow(a, b)
  if (operation === 'exp' || operation === 'log' || operation === 'tanh') return math[operation](a)
  return exactly(operation, args)!
}
