/** Values of a pickle: plain data, and inert records in place of objects that Python would make by a call. */
import type { Dtype } from '../../../core/dtypes.js'
import { quote } from '../../../core/suggest.js'

/** A class or function that the pickle names. It is never looked up, only compared. */
export interface Global {
  readonly kind: 'global'
  /** `module.name` */
  readonly name: string
}

/** The result of calling an unknown global, with its arguments and state. */
export interface Opaque {
  readonly kind: 'opaque'
  /** The global, or the Python type. */
  readonly name: string
  readonly parts: Value[]
}

/** A run of elements in the file: of one dtype, or plain bytes whose dtype the tensor has. */
export interface StorageRef {
  readonly kind: 'storage'
  readonly key: string
  /** The class name in the pickle. */
  readonly type: string
  /** `undefined` if only the tensor has a dtype, or if the class is unknown. */
  readonly dtype: Dtype | undefined
  /** Bytes per element; 0 if the class is unknown. */
  readonly width: number
  /** Number of elements of the whole storage, or of bytes if it has no dtype. */
  readonly length: number
  /** First element and number of elements, if only a part of the storage is used (files before PyTorch 0.4). */
  readonly view?: readonly [first: number, length: number]
}

/** A tensor as the pickle describes it. `placeTensor` checks it. */
export interface TensorRef {
  readonly kind: 'tensor'
  readonly storage: Value
  readonly offset: Value
  readonly shape: Value
  readonly strides: Value
  /** Present if the storage is untyped. */
  readonly dtype?: Dtype
  /** Why the tensor can't be read, even if its parts are valid. */
  problem: string | undefined
}

/** Lists and tuples are arrays, dictionaries are maps, and integers above 2⁵³ are bigints. */
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

/** The `kind` of a record; undefined for plain data. */
const kindOf = (
  value: Value,
): Exclude<Value, null | boolean | number | bigint | string | Value[] | Map<Value, Value>>['kind'] | undefined =>
  typeof value === 'object' && value !== null && 'kind' in value ? value.kind : undefined

export const isTensor = (value: Value): value is TensorRef => kindOf(value) === 'tensor'
export const isOpaque = (value: Value): value is Opaque => kindOf(value) === 'opaque'
export const isGlobal = (value: Value): value is Global => kindOf(value) === 'global'
export const isStorage = (value: Value): value is StorageRef => kindOf(value) === 'storage'

/** An integer from 0 to 2⁵³ − 1. */
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
  /** The outermost inert record that contains the value. */
  readonly inside: Opaque | undefined
}

/**
 * Finds a value that passes `test`, at any depth. `seen` holds the values that were already searched, so shared and cyclic
 * values cost nothing. Pass one set to several searches to keep their total time linear.
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

/** A short description of a value for messages. */
export function describe(value: Value): string {
  if (value === null) return 'None'
  if (Array.isArray(value)) return 'a list'
  if (isDict(value)) return 'a dictionary'
  if (isOpaque(value)) return `an object of ${quote(value.name)}`
  if (isGlobal(value)) return quote(value.name)
  if (isTensor(value)) return 'a tensor'
  if (isStorage(value)) return 'a storage'
  return typeof value === 'string' ? 'a string' : typeof value === 'boolean' ? 'a boolean' : 'a number'
}
