/** Reads a stored tensor as its atoms, and makes it from them. */
import { sameShape } from '../core/dtypes.js'
import { shapeOf } from '../views/shape.js'
import type { View } from '../views/types.js'
import { type Captures, nameOf } from './names.js'
import { axisIn, ofParts, partOf, placeOf, stacked, transposed } from './parts.js'
import type { Facts, Form } from './types.js'

/** Thrown while a rule is applied: why it does not fit. Never leaves this folder. */
export class Misfit extends Error {
  constructor(
    message: string,
    /** What would help. */
    readonly needs?: 'config',
  ) {
    super(message)
  }
}

/** A problem as an exception. `message` follows the tensor's name. */
const misfit = (message: string): never => {
  throw new Misfit(message)
}

/** A number that is not known. */
const lacking = (what: string | { readonly tensor: string }): never => {
  if (typeof what !== 'string') return misfit(`can't be split without ${what.tensor}`)
  throw new Misfit(`can't be split without ${what} in config.json`, 'config')
}

export interface Atom {
  readonly name: string
  readonly view: View
}

/** The names of the atoms in a form. */
export function leavesOf(form: Form): string[] {
  if (typeof form === 'string') return [form]
  if ('concat' in form) return form.concat.flatMap(leavesOf)
  return leavesOf(innerOf(form))
}

/** The captures that a form stacks over. */
export function stackedOver(form: Form): string[] {
  if (typeof form === 'string') return []
  if ('concat' in form) return form.concat.flatMap(stackedOver)
  return 'stack' in form ? [form.over, ...stackedOver(form.stack)] : stackedOver(innerOf(form))
}

function innerOf(form: Exclude<Form, string | { concat: readonly Form[] }>): Form {
  if ('stack' in form) return form.stack
  if ('transpose' in form) return form.transpose
  return 'expand' in form ? form.expand : form.swapHalves
}

/** A tensor's atoms. Throws a `Misfit` if its shape does not fit. */
export function takeApart(form: Form, of: View, captures: Captures, facts: Facts): Atom[] {
  const shape = shapeOf(of)
  if (typeof form === 'string') return [{ name: nameOf(form).fill(captures), view: of }]
  if ('concat' in form) {
    const axis = axisOf(shape, form.axis)
    const groups = groupsOf(form, facts, shape[axis]!)
    const sizes = sizesOf(form, facts, groups, shape[axis]!)
    return form.concat.flatMap((part, index) =>
      takeApart(part, partOf(of, axis, groups, sizes, index), captures, facts),
    )
  }
  if ('stack' in form) {
    if (shape.length === 0) return misfit('has no axes, but is a stack of tensors')
    return Array.from({ length: shape[0]! }, (_, place) =>
      takeApart(form.stack, placeOf(of, place), { ...captures, [form.over]: String(place) }, facts),
    ).flat()
  }
  if ('transpose' in form) {
    if (shape.length < 2) return misfit(`has the shape [${shape}], but is a transposed matrix`)
    return takeApart(form.transpose, transposed(of), captures, facts)
  }
  if ('expand' in form) {
    const inner = shape.slice(0, -form.ones)
    if (shape.length <= form.ones || shape.slice(-form.ones).some((size) => size !== 1))
      return misfit(`has the shape [${shape}], which should end with ${form.ones} axes of size 1`)
    return takeApart(form.expand, { kind: 'reshape', of, shape: inner }, captures, facts)
  }
  return takeApart(form.swapHalves, halvesSwapped(of, form.axis), captures, facts)
}

/** The view of an atom; undefined if there is none. `place` is the number of a stack. */
export type Lookup = (name: string) => View | undefined

/** What is missing to make a tensor. */
export class Missing extends Error {
  constructor(readonly atom: string) {
    super(`has no ${atom}`)
  }
}

/** The tensor that a form makes of atoms. `counts`: the number of places of each stacked capture. Throws `Missing` or a `Misfit`. */
export function putTogether(
  form: Form,
  atoms: Lookup,
  captures: Captures,
  counts: Readonly<Record<string, number>>,
  facts: Facts,
): View {
  const make = (inner: Form, more: Captures = {}): View =>
    putTogether(inner, atoms, { ...captures, ...more }, counts, facts)
  if (typeof form === 'string') {
    const name = nameOf(form).fill(captures)
    const view = atoms(name)
    if (!view) throw new Missing(name)
    return view
  }
  if ('concat' in form)
    return joined(
      form,
      form.concat.map((part) => make(part)),
      facts,
    )
  if ('stack' in form) {
    const parts: View[] = []
    // One after another: names are untrusted, and a number can be far higher than the number of tensors.
    for (let place = 0; place < counts[form.over]!; place++)
      parts.push(make(form.stack, { [form.over]: String(place) }))
    const shape = shapeOf(parts[0]!)
    const other = parts.findIndex((part) => !sameShape(shapeOf(part), shape))
    if (other >= 0)
      return misfit(`is a stack of tensors of one shape, but has [${shape}] and [${shapeOf(parts[other]!)}]`)
    return stacked(parts)
  }
  const inner = make(innerOf(form))
  const shape = shapeOf(inner)
  if ('transpose' in form)
    return shape.length < 2 ? misfit(`is a transposed matrix, but would have the shape [${shape}]`) : transposed(inner)
  if ('expand' in form)
    return { kind: 'reshape', of: inner, shape: [...shape, ...Array.from({ length: form.ones }, () => 1)] }
  return halvesSwapped(inner, form.axis)
}

function joined(form: Concat, parts: readonly View[], facts: Facts): View {
  const shapes = parts.map(shapeOf)
  const [first] = shapes as [readonly number[]]
  const axis = axisOf(first, form.axis)
  const other = shapes.find((shape) => !sameShape(shape.with(axis, 0), first.with(axis, 0)))
  if (other) return misfit(`would be made of [${first}] and [${other}], which differ in another axis than ${axis}`)
  const whole = shapes.reduce((sum, shape) => sum + shape[axis]!, 0)
  const groups = groupsOf(form, facts, whole)
  const odd = shapes.find((shape) => shape[axis]! % groups !== 0)
  if (odd) return misfit(`would have ${groups} groups, but a part has the size ${odd[axis]}`)
  const known = typeof form.sizes === 'function' ? form.sizes(facts) : form.sizes
  const sizes = shapes.map((shape) => shape[axis]! / groups)
  const wanted = known === undefined ? sizes.map(() => sizes[0]!) : isNumbers(known) ? known : undefined
  if (wanted && !sameShape(wanted, sizes)) return misfit(`would have parts of ${sizes}, but needs ${wanted}`)
  return ofParts(parts, axis, groups)
}

function halvesSwapped(of: View, axis: number): View {
  const shape = shapeOf(of)
  const along = axisOf(shape, axis)
  const half = shape[along]! / 2
  if (!Number.isInteger(half)) return misfit(`has the size ${shape[along]} along axis ${along}, which has no halves`)
  const halves = [half, 0].map((start): View => ({ kind: 'slice', of, axis: along, start, count: half }))
  return { kind: 'concat', axis: along, parts: halves }
}

function axisOf(shape: readonly number[], axis: number): number {
  const found = axisIn(shape, axis)
  return shape[found] === undefined ? misfit(`has the shape [${shape}], which has no axis ${axis}`) : found
}

const isNumbers = (known: string | { readonly tensor: string } | readonly number[]): known is readonly number[] =>
  Array.isArray(known)

type Concat = Extract<Form, { concat: readonly Form[] }>

function groupsOf({ groups, concat }: Concat, facts: Facts, size: number): number {
  // A size that the parts do not divide is reported as their sizes.
  if (groups === 'in turn') return size % concat.length === 0 ? Math.max(1, size / concat.length) : 1
  const count = typeof groups === 'function' ? groups(facts) : (groups ?? 1)
  if (typeof count === 'string') return lacking(count)
  if (!Number.isSafeInteger(count) || count < 1 || size % count !== 0)
    return misfit(`has the size ${size}, which is not divisible into ${count} groups`)
  return count
}

function sizesOf({ concat, sizes }: Concat, facts: Facts, groups: number, size: number): readonly number[] {
  const known = typeof sizes === 'function' ? sizes(facts) : sizes
  if (known !== undefined && !isNumbers(known)) return lacking(known)
  const each = size / groups
  const all = known ?? concat.map(() => each / concat.length)
  const fits = all.length === concat.length && all.every((one) => Number.isSafeInteger(one) && one >= 0)
  if (fits && all.reduce((sum, one) => sum + one, 0) === each) return all
  return misfit(
    known
      ? `has the size ${size}, but its parts are ${groups === 1 ? '' : `${groups} times `}${all.join(' + ')}`
      : `has the size ${size}, which is not divisible into ${groups * concat.length} parts`,
  )
}
