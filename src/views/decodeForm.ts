/**
 * How numbers are computed from codes: `(code − zero) · scale`, in float32 and rounded once. The numbers form a matrix
 * [rows, columns], or a stack of matrices; its last axis has the columns. Indexes refer to the parts of a view.
 */
import { type Dtype, elements } from '../core/dtypes.js'
import { bytesOf } from '../encodings/index.js'

export interface DecodeForm {
  readonly codes: CodeForm
  readonly scale: ScaleForm
  readonly zero?: ZeroForm
  /** Rows and columns that share a scale. Blocks start again in each matrix of a stack. The last of a side can be partial. */
  readonly block: readonly [rows: number, columns: number]
  /** Scales per row of scales. */
  readonly groups: number
  /**
   * The part with the group of each column (I32). Absent, or -1 everywhere where that is possible: the group of column c
   * is c div `block[1]`.
   */
  readonly groupOf?: { readonly part: number; readonly canBeUnset: boolean }
  /** Values that small parts must have, such as the shape of the numbers. */
  readonly expected?: readonly { readonly part: number; readonly values: readonly number[] }[]
}

/** How the first part holds codes. */
export type CodeForm =
  /** One element per number. */
  | { readonly kind: 'numbers'; readonly dtype: 'F8_E4M3' | 'I8' }
  /** Half a byte per number. `table`: its 16 numbers, those of E2M1 or a part. */
  | { readonly kind: 'nibbles'; readonly first: 'low' | 'high'; readonly table: 'E2M1' | number }
  /** Fields of 32-bit words along the rows, lowest bits first. `perWord`: fields in a word; 0 if fields can cross words. */
  | { readonly kind: 'fields'; readonly bits: number; readonly perWord: number }
  /** Fields of 32-bit words across the rows: row r is field `order[r mod n]` of word row r div n, with n = `order.length`. */
  | { readonly kind: 'across'; readonly bits: number; readonly order: readonly number[] }

export interface ScaleForm {
  readonly part: number
  readonly form: /** Floating-point numbers. */
    | { readonly kind: 'number' }
    /** A byte b means 2^(b − 127); 255 is NaN. */
    | { readonly kind: 'exponent' }
    /** A byte b means map[b] · outer[index div block] + offset. `map` and `outer` are parts. */
    | {
        readonly kind: 'nested'
        readonly map: number
        readonly outer: number
        readonly block: number
        readonly offset: number
      }
  /** A part with one number, or a number, by which all scales are multiplied or divided. */
  readonly by?:
    | { readonly kind: 'times' | 'over'; readonly part: number }
    | { readonly kind: 'constant'; readonly over: number }
}

export type ZeroForm =
  | { readonly kind: 'constant'; readonly value: number }
  /** I8, one per scale. */
  | { readonly kind: 'integers'; readonly part: number }
  /** Fields of 32-bit words across the rows, one per scale: see `CodeForm`. `plus` is added to each. */
  | {
      readonly kind: 'fields'
      readonly part: number
      readonly bits: number
      /** Fields in a word; 0 if fields can cross words. */
      readonly perWord: number
      readonly order?: readonly number[]
      readonly plus: number
    }

/** Groups of a row with a map of groups, or with packed zero points: these are kept in memory as a whole. */
export const MOST_GROUPS = 1 << 14
/** Columns with a map of groups. */
export const MOST_MAPPED = 1 << 16

/** Rows and columns of the numbers, and rows of one matrix of the stack. */
export function matrixOf(shape: readonly number[]): { rows: number; columns: number; height: number } {
  const columns = shape.at(-1) ?? 1
  return { rows: elements(shape.slice(0, -1)), columns, height: shape.at(-2) ?? 1 }
}

/** Rows of scales. */
export function scaleRows(shape: readonly number[], [a]: DecodeForm['block']): number {
  const { rows, height } = matrixOf(shape)
  return height === 0 ? 0 : (rows / height) * Math.ceil(height / a)
}

/** Whether codes are fields of 32-bit words. */
export const isInWords = ({ kind }: CodeForm): boolean => kind === 'fields' || kind === 'across'

/** 32-bit words of a row with this number of fields. */
export const wordsOf = (fields: number, bits: number, perWord: number): number =>
  perWord === 0 ? Math.ceil((fields * bits) / 32) : Math.ceil(fields / perWord)

interface Part {
  readonly dtype: Dtype | undefined
  readonly shape: readonly number[]
  /** Bytes of all elements. */
  readonly bytes: number
}

/** Why parts do not fit a form; undefined if they fit. */
export function decodeProblem(shape: readonly number[], form: DecodeForm, parts: readonly Part[]): string | undefined {
  const { rows, columns } = matrixOf(shape)
  const { codes, scale, zero, block, groups, groupOf } = form
  if (![...shape, ...block, groups].every((size) => Number.isSafeInteger(size) && size >= 0)) return 'invalid sizes'
  if (block.includes(0)) return 'a block without numbers'
  if ((groupOf || zero?.kind === 'fields') && groups > MOST_GROUPS) return `${groups} groups`
  if (groupOf && columns > MOST_MAPPED) return `a map of ${columns} columns`
  const scales = scaleRows(shape, block) * groups
  const wanted: [part: number, what: string, count: number][] = [[0, 'codes', codeCount(codes, rows, columns)]]
  const counts = parts.map(({ shape }) => elements(shape))
  if (codes.kind === 'nibbles') counts[0] = nibblesIn(parts[0]!, rows, columns)
  wanted.push([scale.part, 'scales', scales])
  if (Math.ceil(columns / block[1]) !== groups && !(groupOf && !groupOf.canBeUnset))
    return `${groups} groups of ${block[1]} columns`
  if (groupOf) wanted.push([groupOf.part, 'groups', columns])
  if (zero?.kind === 'integers') wanted.push([zero.part, 'zero points', scales])
  if (zero?.kind === 'fields') wanted.push([zero.part, 'zero points', wordsOf(rows, zero.bits, zero.perWord) * groups])
  const wrong = wanted.find(([part, , count]) => counts[part] !== count)
  return wrong && `${wrong[2]} ${wrong[1]} for [${shape}], not ${counts[wrong[0]]}`
}

/** A single row may end inside of its last stored element. */
function nibblesIn({ dtype, bytes }: Part, rows: number, columns: number): number {
  const spare = 2 * bytes - columns
  const most = dtype === undefined ? 2 : 2 * bytesOf(dtype)
  return rows === 1 && spare >= 0 && spare < most ? columns : 2 * bytes
}

function codeCount(codes: CodeForm, rows: number, columns: number): number {
  switch (codes.kind) {
    case 'numbers':
    case 'nibbles':
      return rows * columns
    case 'fields':
      return rows * wordsOf(columns, codes.bits, codes.perWord)
    case 'across':
      return Math.ceil(rows / codes.order.length) * columns
  }
}
