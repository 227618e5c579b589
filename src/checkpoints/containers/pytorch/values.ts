/** What a pickle's values become: plain data, and inert records of everything that Python would have made by a call. */
import type { Dtype } from '../../../core/dtypes.js'
import { quote } from '../../../core/suggest.js'

/** A class or function that the pickle names. It is never looked up, only compared. */
export interface Global {
  readonly kind: 'global'
  /** `module.name` */
  readonly name: string
}

/** What a call of an unknown global would have given, with all that went into it. */
export interface Opaque {
  readonly kind: 'opaque'
  /** The global, or the Python type. */
  readonly name: string
  readonly parts: Value[]
}

/** A run of numbers in the file: of one dtype, or bytes where the tensor says how to read them. */
export interface StorageRef {
  readonly kind: 'storage'
  readonly key: string
  /** The class, as the pickle names it. */
  readonly type: string
  /** `undefined` where the tensor says it, or no one can. */
  readonly dtype: Dtype | undefined
  /** Bytes of one of `length`; 0 where the class is not known. */
  readonly width: number
  /** Elements of the whole storage; bytes where it has no type. */
  readonly length: number
  /** First element and number of elements of the part that is meant (files before PyTorch 0.4). */
  readonly view?: readonly [first: number, length: number]
}

/** A tensor as its call describes it: nothing in it is checked before the tensor is wanted. */
export interface TensorRef {
  readonly kind: 'tensor'
  readonly storage: Value
  readonly offset: Value
  readonly shape: Value
  readonly strides: Value
  /** Given where the storage is untyped. */
  readonly dtype?: Dtype
  /** Why it can't be read although its parts may be right. */
  problem: string | undefined
}

/** Lists and tuples are arrays, dictionaries maps. Whole numbers beyond 2⁵³ are bigints. */
export type Value =
  | null
  | boolean
  | number
  | bigint
  | string
  | Value[]
  | Map<Value, Value>
  | Global
  | Opaque
  | StorageRef
  | TensorRef

export const isDict = (value: Value): value is Map<Value, Value> => value instanceof Map

/** The value's `kind` where it is one of our records. */
const kindOf = (
  value: Value,
): Exclude<Value, null | boolean | number | bigint | string | Value[] | Map<Value, Value>>['kind'] | undefined =>
  typeof value === 'object' && value !== null && 'kind' in value ? value.kind : undefined

export const isTensor = (value: Value): value is TensorRef => kindOf(value) === 'tensor'
export const isOpaque = (value: Value): value is Opaque => kindOf(value) === 'opaque'
export const isGlobal = (value: Value): value is Global => kindOf(value) === 'global'
export const isStorage = (value: Value): value is StorageRef => kindOf(value) === 'storage'

/** A whole number from 0 to 2⁵³ − 1. */
export const isNatural = (value: Value | undefined): value is number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0

function children(value: Value): Iterable<Value> {
  if (Array.isArray(value)) return value
  if (isDict(value)) return value.values()
  if (isOpaque(value)) return value.parts
  if (isTensor(value)) return [value.storage]
  return []
}

export interface Found {
  readonly value: Value
  /** The outermost inert record on the way to it. */
  readonly inside: Opaque | undefined
}

/**
 * A value for which `test` holds, at any depth. Sharing and self-reference cost nothing: what is in `seen` was looked
 * at before, and hand the same set to several searches to keep them linear together.
 */
export function findWithin(root: Value, test: (value: Value) => boolean, seen = new Set<Value>()): Found | undefined {
  const open: Found[] = [{ value: root, inside: undefined }]
  while (open.length > 0) {
    const found = open.pop()!
    const { value } = found
    if (test(value)) return found
    if (typeof value !== 'object' || value === null || seen.has(value)) continue
    seen.add(value)
    const inside = found.inside ?? (isOpaque(value) ? value : undefined)
    for (const child of children(value))
      if (typeof child === 'object' && child !== null) open.push({ value: child, inside })
  }
  return undefined
}

/** What a value is, in a word for messages. */
export function describe(value: Value): string {
  if (value === null) return 'None'
  if (Array.isArray(value)) return 'a list'
  if (isDict(value)) return 'a dictionary'
  if (isOpaque(value)) return `an object of ${quote(value.name)}`
  if (isGlobal(value)) return quote(value.name)
  if (isTensor(value)) return 'a tensor'
  if (isStorage(value)) return 'a storage'
  return typeof value === 'string' ? 'a string' : typeof value === 'boolean' ? 'a truth value' : 'a number'
}
