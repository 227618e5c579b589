/**
 * The globals that state dicts need, by what their call means. This list is all that the unpickler knows; whatever else
 * a pickle names becomes an inert record. Nothing here, or anywhere, calls or imports what a file names.
 * Meaning: torch/_utils.py, torch/_tensor.py and torch/serialization.py.
 */

import { ownValue } from '../../../core/collections/ownValue.js'
import type { Dtype } from '../../../core/dtypes.js'
import { quote } from '../../../core/suggest.js'
import { bytesOf, ENCODINGS } from '../../../encodings/index.js'
import { type Global, isDict, isGlobal, isNatural, isOpaque, isTensor, type TensorRef, type Value } from './values.js'

/** torch's storage classes, without `Storage`. */
const STORAGES: Readonly<Record<string, Dtype>> = Object.fromEntries(
  ENCODINGS.flatMap(({ name, torchStorage }) => (torchStorage === undefined ? [] : [[torchStorage, name]])),
)

/** Storage classes of dtypes that safetensors has not, with the bytes of an element. */
const OTHER_STORAGES: Readonly<Record<string, number>> = {
  ComplexDouble: 16,
  QUInt8: 1,
  QInt8: 1,
  QInt32: 4,
  QUInt4x2: 1,
  QUInt2x4: 1,
}

/** torch's dtypes. */
const TORCH_DTYPES: Readonly<Record<string, Dtype>> = Object.fromEntries(
  ENCODINGS.flatMap(({ name, torch }) => torch.map((one) => [one, name])),
)

const DICTS = new Set(['collections.OrderedDict', 'collections.defaultdict', 'builtins.dict', '__builtin__.dict'])
/** Storages of bytes: the tensor says how to read them. */
const UNTYPED = new Set([
  'torch.storage.UntypedStorage',
  'torch.storage._UntypedStorage',
  'torch.UntypedStorage',
  'torch._UntypedStorage',
])
const PLAIN_TENSORS = new Set([
  'torch.Tensor',
  'torch._tensor.Tensor',
  'torch.tensor.Tensor',
  'torch.nn.parameter.Parameter',
  'torch.nn.parameter.Buffer',
])

/** Bytes of memory that an item of a dictionary takes. */
export const ITEM_COST = 40

const tensorRef = (parts: Partial<Omit<TensorRef, 'kind'>>): TensorRef => ({
  kind: 'tensor',
  storage: null,
  offset: null,
  shape: null,
  strides: null,
  problem: undefined,
  ...parts,
})

/** A tensor that no one can read, for a call that should have given one. */
const unreadable = (problem: string): TensorRef => tensorRef({ problem })

function dtypeOf(value: Value | undefined): Dtype | undefined {
  const [, name] = value !== undefined && isGlobal(value) ? (/^torch\.(\w+)$/.exec(value.name) ?? []) : []
  return name === undefined ? undefined : ownValue(TORCH_DTYPES, name)
}

/** Functions that give a tensor, by name in `torch._utils`. */
const REBUILD: Readonly<Record<string, (args: Value[]) => Value>> = {
  _rebuild_tensor: ([storage = null, offset = null, shape = null, strides = null]) =>
    tensorRef({ storage, offset, shape, strides }),
  _rebuild_tensor_v2: ([storage = null, offset = null, shape = null, strides = null, , , metadata = null]) =>
    tensorRef({ storage, offset, shape, strides, problem: mathBits(metadata) }),
  _rebuild_tensor_v3: ([storage = null, offset = null, shape = null, strides = null, , , dtype, metadata = null]) => {
    const known = dtypeOf(dtype)
    if (!known)
      return tensorRef({
        storage,
        problem: `its dtype is ${dtype !== undefined && isGlobal(dtype) ? quote(dtype.name) : 'missing'}, which safetensors does not support`,
      })
    return tensorRef({ storage, offset, shape, strides, dtype: known, problem: mathBits(metadata) })
  },
  _rebuild_parameter: ([data]) => rewrapped(data),
  _rebuild_parameter_with_state: ([data]) => rewrapped(data),
}

/** A view that is to be conjugated or negated when it is read. */
function mathBits(metadata: Value): string | undefined {
  if (metadata === null || (isDict(metadata) && metadata.get('conj') !== true && metadata.get('neg') !== true))
    return undefined
  return 'it is a conjugated or negated view'
}

function rewrapped(data: Value | undefined): Value {
  if (data !== undefined && isTensor(data)) return data
  return unreadable(
    data !== undefined && isOpaque(data)
      ? `it depends on ${quote(data.name)}`
      : 'it is a parameter around something else than a tensor',
  )
}

/** `_rebuild_from_type_v2(function, type, arguments, state)`: attributes around a plain tensor don't change it. */
function fromType([callee, type, args]: Value[], charge: Charge): Value {
  const name = type !== undefined && isGlobal(type) ? type.name : 'an unknown class'
  if (!PLAIN_TENSORS.has(name)) return { kind: 'opaque', name, parts: [args ?? null] }
  if (callee === undefined || !isGlobal(callee) || !Array.isArray(args)) return unreadable('its description is damaged')
  return rewrapped(reduce(callee, args, charge))
}

/** Called with the bytes of memory that something is about to take; throws where they are too many. */
export type Charge = (bytes: number) => void

/** What calling `callee` means. Unknown callees give an inert record of themselves and their arguments. */
export function reduce(callee: Value, args: Value[], charge: Charge): Value {
  if (!isGlobal(callee))
    return { kind: 'opaque', name: isOpaque(callee) ? callee.name : 'an unknown class', parts: [callee, args] }
  const rebuild = /^torch\._utils\.(\w+)$/.exec(callee.name)?.[1]
  const known = rebuild === undefined ? undefined : ownValue(REBUILD, rebuild)
  if (known) return known(args)
  if (callee.name === 'torch._tensor._rebuild_from_type_v2') return fromType(args, charge)
  if (callee.name === 'torch.Size' && Array.isArray(args[0])) return args[0]
  if (DICTS.has(callee.name)) {
    const dict = dictionary(callee, args, charge)
    if (dict) return dict
  }
  return { kind: 'opaque', name: callee.name, parts: [args] }
}

/** Whether the object made by an unknown global may be a tensor all the same. */
export const rebuildsTensor = (name: string): boolean =>
  /^torch\..*_rebuild_|^torch\.jit\.|^torch\.(Tensor|nn\.parameter)/.test(name)

function dictionary(callee: Global, args: Value[], charge: Charge): Map<Value, Value> | undefined {
  const pairs = callee.name === 'collections.defaultdict' ? args[1] : args[0]
  if (pairs === undefined) return new Map()
  if (!isDict(pairs) && !Array.isArray(pairs)) return undefined
  // A pickle can name one long list any number of times, two bytes each.
  charge((isDict(pairs) ? pairs.size : pairs.length) * ITEM_COST)
  if (isDict(pairs)) return new Map(pairs)
  const dict = new Map<Value, Value>()
  for (const pair of pairs) {
    if (!Array.isArray(pair) || pair.length !== 2) return undefined
    dict.set(pair[0]!, pair[1]!)
  }
  return dict
}

/**
 * What a persistent id stands for: `('storage', class, key, location, length[, view])`. Anything else is an inert
 * record. `problem` says what is wrong with a damaged storage.
 */
export function persistent(id: Value): { value: Value } | { problem: string } {
  if (!Array.isArray(id) || id[0] !== 'storage')
    return { value: { kind: 'opaque', name: 'a persistent id', parts: [id] } }
  const [, type, key, , length, view = null] = id
  if (type === undefined || !isGlobal(type) || typeof key !== 'string' || !isNatural(length))
    return { problem: 'a storage is described wrongly' }
  const storage = { kind: 'storage', key, type: type.name, length, ...elementOf(type.name) } as const
  if (view === null) return { value: storage }
  const [, first, count] = Array.isArray(view) ? view : []
  if (!isNatural(first) || !isNatural(count))
    return { problem: `the view of storage ${quote(key)} is described wrongly` }
  return { value: { ...storage, view: [first, count] } }
}

/** What a storage class holds. */
function elementOf(type: string): { dtype: Dtype | undefined; width: number } {
  if (UNTYPED.has(type)) return { dtype: undefined, width: 1 }
  const name = /^torch(?:\.cuda)?\.(\w+)Storage$/.exec(type)?.[1] ?? ''
  const dtype = ownValue(STORAGES, name)
  return { dtype, width: dtype ? bytesOf(dtype) : (ownValue(OTHER_STORAGES, name) ?? 0) }
}

/** Whether tensors may lie in a storage of this class, read by their own dtype. */
export const isUntyped = (type: string): boolean => UNTYPED.has(type)
