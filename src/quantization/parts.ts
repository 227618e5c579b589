/** Helpers of schemes: views of stored tensors, checks of their shapes, and forms that several schemes share. */
import type { Dtype } from '../core/dtypes.js'
import { elements } from '../core/dtypes.js'
import { bytesOf } from '../encodings/index.js'
import { type DecodeForm, decodeProblem, MOST_GROUPS, MOST_MAPPED } from '../views/decodeForm.js'
import { dtypeOf, shapeOf } from '../views/shape.js'
import type { StoredView, View } from '../views/types.js'
import { type Layout, type Module, type QuantizedModel, Refusal, type StoredPart } from './types.js'

const DAMAGED = 'the checkpoint is incomplete, damaged, or was written in another way than its configuration says'
export const UNSUPPORTED =
  'unpack the model to float16 or bfloat16 first with the library that made it, or merge the model that it was made from'

/** Shows a shape: `[2, 3]`. */
export const shown = (shape: readonly number[]): string => `[${shape.join(', ')}]`

export function storedView({ file, name, dtype, shape, offset, bytes, strides }: StoredPart): StoredView {
  const view = { kind: 'stored', file, tensor: name, dtype, shape, offset, bytes } as const
  return strides ? { ...view, strides } : view
}

/** The transposed matrix. */
export const turned = (of: View): View => {
  const axes = shapeOf(of).map((_, axis) => axis)
  return { kind: 'permute', of, axes: [...axes.slice(0, -2), ...axes.slice(-2).reverse()] }
}

/** An error about a tensor: its file and name, and what is wrong. */
export const damaged = (model: QuantizedModel, part: StoredPart, what: string): Refusal =>
  new Refusal('damaged-weights', `${model.fileName(part.file)}: tensor ${part.name} ${what}`, DAMAGED, part.name)

/** An unsupported format or setting. */
export const unsupported = (what: string): Refusal => new Refusal('packed-weights', what, UNSUPPORTED)

/** Checks a tensor's shape. Error: `damaged-weights`. */
export function expectShape({ model, codes }: Module, part: StoredPart, ...shapes: (readonly number[])[]): void {
  const fits = (shape: readonly number[]): boolean =>
    shape.length === part.shape.length && shape.every((size, axis) => size === part.shape[axis])
  if (shapes.some(fits)) return
  const wanted = [...new Set(shapes.map(shown))].join(' or ')
  throw damaged(model, part, `is ${shown(part.shape)}, but ${codes.name} ${shown(codes.shape)} needs ${wanted}`)
}

/** Checks a tensor's dtype. Error: `damaged-weights`. */
export function expectDtype({ model }: Module, part: StoredPart, ...dtypes: readonly Dtype[]): void {
  if (!dtypes.includes(part.dtype)) throw damaged(model, part, `is ${part.dtype}, not ${dtypes.join(' or ')}`)
}

export const FLOATS: readonly Dtype[] = ['F32', 'F16', 'BF16']

/** The view of a weight. Errors: `damaged-weights` if the parts do not fit, `packed-weights` if they are too large. */
export function decoded(
  { model, codes }: Module,
  shape: readonly number[],
  form: DecodeForm,
  of: readonly View[],
): View {
  const { groups, groupOf, zero } = form
  if ((groupOf || zero?.kind === 'fields') && groups > MOST_GROUPS)
    throw unsupported(`${codes.name} has ${groups} groups per row; terge supports ${MOST_GROUPS}`)
  if (groupOf && shape.at(-1)! > MOST_MAPPED)
    throw unsupported(`${codes.name} has a map of groups for ${shape.at(-1)} columns; terge supports ${MOST_MAPPED}`)
  const parts = of.map((view) => {
    const dtype = dtypeOf(view)!
    return { dtype, shape: shapeOf(view), bytes: bytesOf(dtype, elements(shapeOf(view))) }
  })
  const problem = decodeProblem(shape, form, parts)
  if (problem !== undefined) throw damaged(model, codes, `does not fit the other tensors of its weight: ${problem}`)
  return { kind: 'decode', shape, of, form, format: '' }
}

/** A whole number that a setting has; undefined if it is absent or something else. */
export const wholeNumber = (value: unknown): number | undefined =>
  typeof value === 'number' && Number.isSafeInteger(value) ? value : undefined

/** Rows and columns of blocks with one scale: all of a weight, each row, each column, or a grid. */
export interface Grid {
  readonly block: readonly [rows: number, columns: number]
  readonly groups: number
  readonly words: string
}

/** The rows and columns of one matrix of a weight, and the leading axes. */
const matrix = (shape: readonly number[]): [lead: readonly number[], rows: number, columns: number] => [
  shape.slice(0, -2),
  shape.at(-2)!,
  shape.at(-1)!,
]

/**
 * The grid of a scale per tensor or per channel, from the shape of the scales; undefined if they are neither. In a stack
 * of matrices, each has its own scales.
 */
export function plainGrid(weight: readonly number[], scale: readonly number[]): Grid | undefined {
  const [lead, rows, columns] = matrix(weight)
  const is = (...shapes: (readonly number[])[]): boolean =>
    shapes.some((shape) => shape.length === scale.length && shape.every((size, axis) => size === scale[axis]))
  const whole: Grid = { block: [Math.max(1, rows), Math.max(1, columns)], groups: 1, words: 'per tensor' }
  if (lead.length === 0 && elements(scale) === 1) return whole
  if (lead.length > 0 && is(lead, [...lead, 1], [...lead, 1, 1])) return { ...whole, words: 'per matrix' }
  if (is([...lead, rows], [...lead, rows, 1]))
    return { block: [1, Math.max(1, columns)], groups: 1, words: 'per channel' }
  if (lead.length > 0 && is([...lead, 1, columns]))
    return { block: [Math.max(1, rows), 1], groups: columns, words: 'per channel' }
  return undefined
}

/** The grid of blocks of a × b, and the shape that its scales must have. */
export function blockGrid(
  weight: readonly number[],
  [a, b]: readonly [number, number],
): Grid & { readonly shape: number[] } {
  const [lead, rows, columns] = matrix(weight)
  const groups = Math.ceil(columns / b)
  return { block: [a, b], groups, words: `${a} × ${b} blocks`, shape: [...lead, Math.ceil(rows / a), groups] }
}

/** Scales of groups of columns: each row has its own. */
export const groupGrid = (columns: number, size: number): Grid => ({
  block: [1, Math.max(1, size)],
  groups: Math.ceil(columns / Math.max(1, size)),
  words: `groups of ${size}`,
})

/** Whether a dtype holds exponents of 2. */
export const isExponent = (dtype: Dtype): boolean => dtype === 'U8' || dtype === 'F8_E8M0'

/** The tensors of a module of GPTQ and AWQ: words of codes, zero points and scales. */
export const QWEIGHT: Pick<Layout, 'codes' | 'weight' | 'fits' | 'required'> = {
  codes: '.qweight',
  weight: '.weight',
  fits: ({ dtype, shape }) => dtype === 'I32' && shape.length === 2,
  required: ['.qzeros', '.scales'],
}
