/**
 * The globals that state dicts need, with the meaning of calling them. The unpickler knows only this list; everything else
 * that a pickle names becomes an inert record. terge never calls or imports what a file names.
 * See torch/_utils.py, torch/_tensor.py and torch/serialization.py.
 */

import { ownValue } from '../../../core/collections/ownValue.js'
import type { Dtype } from '../../../core/dtypes.js'
import { quote } from '../../../core/suggest.js'
import { bytesOf, ENCODINGS } from '../../../encodings/index.js'
import { type Global, isDict, isGlobal, isNatural, isOpaque, isTensor, type TensorRef, type Value } from './values.js'

/** PyTorch's storage classes, without the suffix `Storage`. */
const STORAGES: Readonly<Record<string, Dtype>> = Object.fromEntries(
  ENCODINGS.flatMap(({ name, torchStorage }) => (torchStorage === undefined ? [] : [[torchStorage, name]])),
)

/** Storage classes of dtypes that safetensors does not support, with the bytes per element. */
const OTHER_STORAGES: Readonly<Record<string, number>> = {
  ComplexDouble: 16,
  QUInt8: 1,
  QInt8: 1,
  QInt32: 4,
  QUInt4x2: 1,
  QUInt2x4: 1,
}

/** PyTorch's dtypes. */
const TORCH_DTYPES: Readonly<Record<string, Dtype>> = Object.fromEntries(
  ENCODINGS.flatMap(({ name, torch }) => torch.map((one) => [one, name])),
)

const DICTS = new Set(['collections.OrderedDict', 'collections.defaultdict', 'builtins.dict', '__builtin__.dict'])
/** Storages of plain bytes: the tensor has the dtype. */
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

/** Memory per dictionary item, in bytes. */
export const ITEM_COST = 40

export const tensorRef = (parts: Partial<Omit<TensorRef, 'kind'>>): TensorRef => ({
  kind: 'tensor',
  storage: null,
  offset: null,
  shape: null,
  strides: null,
  problem: undefined,
  ...parts,
})

/** A tensor that can't be read, as the result of a call that should return a tensor. */
const unreadable = (problem: string): TensorRef => tensorRef({ problem })

/** The dtype that a global such as `torch.bfloat16` names; undefined if it is none that safetensors supports. */
export function dtypeOf(value: Value | undefined): Dtype | undefined {
  const [, name] = value !== undefined && isGlobal(value) ? (/^torch\.(\w+)$/.exec(value.name) ?? []) : []
  return name === undefined ? undefined : ownValue(TORCH_DTYPES, name)
}

/** Functions of `torch._utils` that return a tensor, by name. */
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

/** Why a tensor is unsupported if PyTorch conjugates or negates it on reading. */
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
      : 'it is a parameter that does not hold a tensor',
  )
}

/** `_rebuild_from_type_v2(function, type, arguments, state)`: extra attributes of a plain tensor don't change its elements. */
function fromType([callee, type, args, state]: Value[], charge: Charge): Value {
  const name = type !== undefined && isGlobal(type) ? type.name : 'an unknown class'
  if (!PLAIN_TENSORS.has(name)) return { kind: 'opaque', name, parts: [args ?? null, state ?? null] }
  if (callee === undefined || !isGlobal(callee) || !Array.isArray(args)) return unreadable('its description is damaged')
  return rewrapped(reduce(callee, args, charge))
}

/** Reserves memory, in bytes, before it is used. Throws if it exceeds the budget. */
export type Charge = (bytes: number) => void

/** The result of calling `callee`. An unknown callee gives an inert record of the callee and its arguments. */
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

/** Whether an object made by an unknown global could still be a tensor. */
export const rebuildsTensor = (name: string): boolean =>
  /^torch\..*_rebuild_|^torch\.jit\.|^torch\.(Tensor|nn\.parameter)/.test(name)

function dictionary(callee: Global, args: Value[], charge: Charge): Map<Value, Value> | undefined {
  const pairs = callee.name === 'collections.defaultdict' ? args[1] : args[0]
  if (pairs === undefined) return new Map()
  if (!isDict(pairs) && !Array.isArray(pairs)) return undefined
  // A pickle can refer to one long list many times, at two bytes per reference.
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
 * The value of a persistent id: `('storage', class, key, location, length[, view])`. Any other id gives an inert
 * record. `problem` describes the damage of a storage.
 */
export function persistent(id: Value): { value: Value } | { problem: string } {
  if (!Array.isArray(id) || id[0] !== 'storage')
    return { value: { kind: 'opaque', name: 'a persistent id', parts: [id] } }
  const [, type, key, , length, view = null] = id
  if (type === undefined || !isGlobal(type) || typeof key !== 'string' || !isNatural(length))
    return { problem: 'the description of a storage is damaged' }
  const storage = { kind: 'storage', key, type: type.name, length, ...elementOf(type.name) } as const
  if (view === null) return { value: storage }
  const [, first, count] = Array.isArray(view) ? view : []
  if (!isNatural(first) || !isNatural(count)) return { problem: `the view of storage ${quote(key)} is damaged` }
  return { value: { ...storage, view: [first, count] } }
}

/** The dtype and element width, in bytes, of a storage class. */
function elementOf(type: string): { dtype: Dtype | undefined; width: number } {
  if (UNTYPED.has(type)) return { dtype: undefined, width: 1 }
  const name = /^torch(?:\.cuda)?\.(\w+)Storage$/.exec(type)?.[1] ?? ''
  const dtype = ownValue(STORAGES, name)
  return { dtype, width: dtype ? bytesOf(dtype) : (ownValue(OTHER_STORAGES, name) ?? 0) }
}

/** Whether a storage of this class has no dtype, so that each tensor brings its own. */
export const isUntyped = (type: string): boolean => UNTYPED.has(type)
