/**
 * A compiled formula as its kernels read it: instructions over registers of one strip each, as numbers in the table of a context.
 * assembly/formula/strip.ts runs it.
 *
 * The table has, one float64 each: the number of instructions, numbers, outputs and registers; two for each output (operand,
 * kind); the numbers; for each instruction its operation, where its result goes, how many operands follow, and these.
 */

/** Elements that a program works on at once: a register has room for as many. A divisor of a chunk. */
export const STRIP = 512

/** Operations with the numbers that the kernels know them by. `a`, `b`, …: operands in order. */
export const OPERATIONS = {
  move: 0,
  add: 1,
  subtract: 2,
  multiply: 3,
  divide: 4,
  min: 5,
  max: 6,
  power: 7,
  negate: 8,
  abs: 9,
  sqrt: 10,
  exp: 11,
  log: 12,
  tanh: 13,
  sign: 14,
  /** a − b, and 0 where both have the same bits. */
  delta: 15,
  /** a + b·c. */
  multiplyAdd: 16,
  /** a + b·(c − d), the difference as in `delta`. */
  term: 17,
  /** c where a > b, else d; NaN where a or b is NaN. The others alike. */
  whereGreater: 18,
  whereAtLeast: 19,
  whereEqual: 20,
  whereOther: 21,
  /** b where a is among the elements from a key on, else c. d: the number with the key; the next one has the index of the cut. */
  whereRanked: 22,
  median: 23,
} as const

export type Operation = keyof typeof OPERATIONS

/** What an output of `formula_sums` is. */
export const MEASURES = { sum: 0, squares: 1, largest: 2, smallSquares: 3 } as const

export type Measure = keyof typeof MEASURES

/** An operand: the result of an instruction, an element of an input or of the base, or a number that is the same for all elements. */
export type Operand =
  | { readonly kind: 'register'; readonly index: number }
  | { readonly kind: 'input'; readonly index: number }
  | { readonly kind: 'base' }
  | { readonly kind: 'number'; readonly index: number }
  /** Only as a result. */
  | { readonly kind: 'output' }

export interface Instruction {
  readonly operation: Operation
  readonly to: Operand
  readonly operands: readonly Operand[]
}

/** A program without its numbers. */
export interface FormulaCode {
  readonly instructions: readonly Instruction[]
  readonly outputs: readonly { readonly from: Operand; readonly measure: Measure }[]
  readonly registers: number
  /** How many numbers it uses. */
  readonly numbers: number
}

/** A program can name so many numbers, inputs and registers. */
const KIND = 1 << 16
const KINDS = { register: 0, input: 1, base: 2, number: 3, output: 4 } as const

const wordOf = (operand: Operand): number => KINDS[operand.kind] * KIND + ('index' in operand ? operand.index : 0)

/** The table of a program, with its numbers. */
export function formulaTable(
  { instructions, outputs, registers }: FormulaCode,
  numbers: readonly number[],
): Float64Array {
  return Float64Array.from([
    ...[instructions.length, numbers.length, outputs.length, registers],
    ...outputs.flatMap(({ from, measure }) => [wordOf(from), MEASURES[measure]]),
    ...numbers,
    ...instructions.flatMap(({ operation, to, operands }) => [
      ...[OPERATIONS[operation], wordOf(to), operands.length],
      ...operands.map(wordOf),
    ]),
  ])
}

/** Bytes of scratch space for a program: see assembly/formula/strip.ts. Room for either compute type. */
export function formulaScratch({ instructions, outputs, registers, numbers }: FormulaCode, inputs: number): number {
  const code = instructions.reduce((sum, { operands }) => sum + 20 + 12 * operands.length, 0)
  const vectors = numbers + inputs + 2
  return registers * STRIP * 8 + vectors * 16 + outputs.length * 32 + STRIP * 4 + code + 16
}
