/**
 * The globals that state dicts need, by what their call means. This list is all that the unpickler knows; whatever else
 * a pickle names becomes an inert record. Nothing here, or anywhere, calls or imports what a file names.
 * Meaning: torch/_utils.py, torch/_tensor.py and torch/serialization.py.
 */
import type { Dtype } from '../../core/dtypes.js'
import { quote } from '../header.js'
import { type Global, isDict, isGlobal, isNatural, isOpaque, isStorage, isTensor, type StorageRef, type TensorRef, type Value } from './values.js'

/** torch's storage classes, without `Storage`. */
const STORAGES: Readonly<Record<string, Dtype>> = {
  Double: 'F64',
  Float: 'F32',
  Half: 'F16',
  BFloat16: 'BF16',
  Long: 'I64',
  Int: 'I32',
  Short: 'I16',
  Char: 'I8',
  Byte: 'U8',
  Bool: 'BOOL',
  ComplexFloat: 'C64',
}

/** torch's dtypes. */
const TORCH_DTYPES: Readonly<Record<string, Dtype>> = {
  float64: 'F64',
  double: 'F64',
  float32: 'F32',
  float: 'F32',
  float16: 'F16',
  half: 'F16',
  bfloat16: 'BF16',
  int64: 'I64',
  long: 'I64',
  int32: 'I32',
  int: 'I32',
  int16: 'I16',
  short: 'I16',
  int8: 'I8',
  uint8: 'U8',
  uint16: 'U16',
  uint32: 'U32',
  uint64: 'U64',
  bool: 'BOOL',
  complex64: 'C64',
  cfloat: 'C64',
  float8_e4m3fn: 'F8_E4M3',
  float8_e5m2: 'F8_E5M2',
  float8_e8m0fnu: 'F8_E8M0',
}

const DICTS = new Set(['collections.OrderedDict', 'collections.defaultdict', 'builtins.dict', '__builtin__.dict'])
const UNTYPED = new Set(['torch.storage.UntypedStorage', 'torch.storage._UntypedStorage', 'torch.UntypedStorage', 'torch._UntypedStorage'])
const PLAIN_TENSORS = new Set([
  'torch.Tensor',
  'torch._tensor.Tensor',
  'torch.tensor.Tensor',
  'torch.nn.parameter.Parameter',
  'torch.nn.parameter.Buffer',
])

const lookUp = <T>(table: Readonly<Record<string, T>>, key: string): T | undefined =>
  Object.hasOwn(table, key) ? table[key] : undefined

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
  return name === undefined ? undefined : lookUp(TORCH_DTYPES, name)
}

/** Functions that give a tensor, by name in `torch._utils`. */
const REBUILD: Readonly<Record<string, (args: Value[]) => Value>> = {
  _rebuild_tensor: ([storage = null, offset = null, shape = null, strides = null]) =>
    tensorRef({ storage, offset, shape, strides }),
  _rebuild_tensor_v2: ([storage = null, offset = null, shape = null, strides = null, , , metadata = null]) =>
    tensorRef({ storage, offset, shape, strides, problem: mathBits(metadata) }),
  _rebuild_tensor_v3: ([storage = null, offset = null, shape = null, strides = null, , , dtype, metadata = null]) => {
    const known = dtypeOf(dtype)
    if (!known) return tensorRef({ storage, problem: `its dtype is ${dtype !== undefined && isGlobal(dtype) ? dtype.name : 'missing'}, which safetensors has not` })
    return tensorRef({ storage, offset, shape, strides, dtype: known, problem: mathBits(metadata) })
  },
  _rebuild_parameter: ([data]) => rewrapped(data),
  _rebuild_parameter_with_state: ([data]) => rewrapped(data),
}

/** A view that is to be conjugated or negated when it is read. */
function mathBits(metadata: Value): string | undefined {
  if (metadata === null || (isDict(metadata) && metadata.get('conj') !== true && metadata.get('neg') !== true)) return undefined
  return 'it is a conjugated or negated view'
}

function rewrapped(data: Value | undefined): Value {
  if (data !== undefined && isTensor(data)) return data
  return unreadable(data !== undefined && isOpaque(data) ? `it depends on ${data.name}` : 'it is a parameter around something else than a tensor')
}

/** `_rebuild_from_type_v2(function, type, arguments, state)`: attributes around a plain tensor don't change it. */
function fromType([callee, type, args]: Value[]): Value {
  const name = type !== undefined && isGlobal(type) ? type.name : 'an unknown class'
  if (!PLAIN_TENSORS.has(name)) return { kind: 'opaque', name, parts: [args ?? null] }
  if (callee === undefined || !isGlobal(callee) || !Array.isArray(args)) return unreadable('its description is damaged')
  return rewrapped(reduce(callee, args))
}

/** What calling `callee` means. Unknown callees give an inert record of themselves and their arguments. */
export function reduce(callee: Value, args: Value[]): Value {
  if (!isGlobal(callee)) return { kind: 'opaque', name: isOpaque(callee) ? callee.name : 'an unknown class', parts: [callee, ...args] }
  const rebuild = /^torch\._utils\.(\w+)$/.exec(callee.name)?.[1]
  const known = rebuild === undefined ? undefined : lookUp(REBUILD, rebuild)
  if (known) return known(args)
  if (callee.name === 'torch._tensor._rebuild_from_type_v2') return fromType(args)
  if (callee.name === 'torch.Size' && Array.isArray(args[0])) return args[0]
  if (DICTS.has(callee.name)) return dictionary(callee, args) ?? { kind: 'opaque', name: callee.name, parts: [...args] }
  return { kind: 'opaque', name: callee.name, parts: [...args] }
}

/** Whether the object made by an unknown global may be a tensor all the same. */
export const rebuildsTensor = (name: string): boolean => /^torch\..*_rebuild_|^torch\.jit\.|^torch\.(Tensor|nn\.parameter)/.test(name)

function dictionary(callee: Global, args: Value[]): Map<Value, Value> | undefined {
  const pairs = callee.name === 'collections.defaultdict' ? args[1] : args[0]
  if (pairs === undefined) return new Map()
  if (isDict(pairs)) return new Map(pairs)
  if (!Array.isArray(pairs)) return undefined
  const dict = new Map<Value, Value>()
  for (const pair of pairs) {
    if (!Array.isArray(pair) || pair.length !== 2) return undefined
    dict.set(pair[0]!, pair[1]!)
  }
  return dict
}

/**
 * What a persistent id stands for: `('storage', class, key, location, length[, view])`. Anything else is an inert
 * record. Returns a string, what is wrong, where it is a damaged storage.
 */
export function persistent(id: Value): { value: Value } | { problem: string } {
  if (!Array.isArray(id) || id[0] !== 'storage') return { value: { kind: 'opaque', name: 'a persistent id', parts: [id] } }
  const [, type, key, , length, view = null] = id
  if (type === undefined || !isGlobal(type) || typeof key !== 'string' || !isNatural(length)) return { problem: 'a storage is described wrongly' }
  const storage = { kind: 'storage', key, length } as const
  const typed = /^torch(?:\.cuda)?\.(\w+)Storage$/.exec(type.name)?.[1]
  const dtype = typed === undefined ? undefined : lookUp(STORAGES, typed)
  if (!dtype && !UNTYPED.has(type.name)) return { value: { kind: 'opaque', name: type.name, parts: [storageOf(storage)] } }
  if (view === null) return { value: { ...storage, dtype } }
  const [, first, count] = Array.isArray(view) ? view : []
  if (!isNatural(first) || !isNatural(count)) return { problem: `the view of storage ${quote(key)} is described wrongly` }
  return { value: { ...storage, dtype, view: [first, count] } }
}

const storageOf = (storage: Omit<StorageRef, 'dtype'>): StorageRef => ({ ...storage, dtype: undefined })
