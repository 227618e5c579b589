/** From a tensor's description to its place in the file, every number held against what there is. */
import { type Fault, fault } from '../../../core/diagnostics.js'
import { quote } from '../../../core/suggest.js'
import { bytesOf } from '../../../encodings/index.js'
import type { ContainerTensor } from '../types.js'
import { isUntyped } from './globals.js'
import { DAMAGED, HARMFUL } from './hints.js'
import { describe, isNatural, isOpaque, isStorage, type StorageRef, type TensorRef, type Value } from './values.js'
import type { StoredEntry } from './zip.js'

/** Where a storage's bytes lie; throws a fault where it is not in the file. */
export type Locate = (storage: StorageRef, whose: string) => Promise<StoredEntry> | StoredEntry

/** PyTorch's own limit. */
const MAX_RANK = 64
/**
 * An expanded tensor repeats its elements without storing them, so that a file of a kilobyte could ask for an output
 * of any size. What all tensors hold together may be at most so many times the file, and this in any case.
 */
const EXPANSION = 16
const EXPANSION_FREE = 2 ** 30

/** Bytes that the tensors of a file of `size` bytes may come to when they are written out. */
export const outputAllowance = (size: number): { left: number } => ({ left: EXPANSION_FREE + EXPANSION * size })

/**
 * Where a tensor lies. `allowance` is shared by all tensors of a file.
 * Faults: `unreadable-tensor` for one that depends on something unknown, `bad-tensor`, `expansion`.
 */
export async function placeTensor(
  name: string,
  tensor: TensorRef,
  fileName: string,
  locate: Locate,
  allowance: { left: number },
): Promise<ContainerTensor> {
  const whose = `${fileName}: tensor ${quote(name)}`
  const bad = (what: string): Fault => fault('bad-tensor', `${whose}: ${what}`, DAMAGED)
  const storage = readableStorage(tensor, whose)
  const dtype = isUntyped(storage.type) ? tensor.dtype : storage.dtype
  if (!dtype) throw bad('neither it nor its storage has a dtype')
  if (tensor.dtype && tensor.dtype !== dtype) throw bad(`${tensor.dtype} in a storage of ${dtype}`)
  const shape = naturals(tensor.shape)
  const strides = naturals(tensor.strides)
  if (!shape || !strides || shape.length !== strides.length || !isNatural(tensor.offset))
    throw bad('its shape, strides and offset do not match, or are not whole numbers from 0')
  const width = bytesOf(dtype)
  const available = elementsOf(storage, width)
  const entry = await locate(storage, whose)
  // A storage's length is believed no further than the bytes go.
  const whole = storage.length * storage.width
  if (!(whole <= entry.size)) throw bad(`its storage claims ${whole} bytes, the file has ${entry.size}`)
  if (!available) throw bad('its storage is a view that reaches over the end')

  const count = shape.reduce((product, size) => product * size, 1)
  if (
    !shape.every((_, axis) =>
      Number.isSafeInteger(shape.slice(0, axis + 1).reduce((product, size) => product * size, width)),
    )
  )
    throw fault('shape-overflow', `${whose}: a shape of ${shape.join(' × ')} has more bytes than 2⁵³`, DAMAGED)
  if (count === 0) return { name, dtype, shape, offset: entry.offset, bytes: 0 }
  allowance.left -= count * width
  if (allowance.left < 0)
    throw fault('expansion', `${whose}: the tensors hold more than ${EXPANSION} times the bytes of the file`, HARMFUL)
  const span = shape.reduce((sum, size, axis) => sum + (size - 1) * strides[axis]!, 1)
  const last = tensor.offset + span
  // Sums and products beyond 2⁵³ are inexact, but far over any storage.
  if (!(last <= available.length)) throw bad(`it reaches to element ${last} of a storage of ${available.length}`)
  return {
    name,
    dtype,
    shape,
    offset: entry.offset + (available.first + tensor.offset) * width,
    bytes: span * width,
    ...(isContiguous(shape, strides) ? {} : { strides }),
  }
}

function readableStorage(tensor: TensorRef, whose: string): StorageRef {
  const unreadable = (why: string): Fault =>
    fault(
      'unreadable-tensor',
      `${whose}: ${why}`,
      'only plain tensors can be merged: convert it in PyTorch, then save the state dict again',
    )
  if (tensor.problem !== undefined) throw unreadable(tensor.problem)
  if (isOpaque(tensor.storage)) throw unreadable(`its data depend on ${quote(tensor.storage.name)}`)
  if (!isStorage(tensor.storage)) throw unreadable(`its storage is ${describe(tensor.storage)}`)
  const { type, dtype } = tensor.storage
  if (!dtype && !isUntyped(type)) throw unreadable(`its data depend on ${quote(type)}`)
  return tensor.storage
}

function naturals(value: Value): number[] | undefined {
  if (!Array.isArray(value) || value.length > MAX_RANK) return undefined
  return value.every(isNatural) ? value : undefined
}

/** The elements that a tensor may use, from where in the storage. */
function elementsOf(storage: StorageRef, width: number): { first: number; length: number } | undefined {
  if (!storage.view) return { first: 0, length: storage.dtype ? storage.length : Math.floor(storage.length / width) }
  const [first, length] = storage.view
  return storage.dtype && first + length <= storage.length ? { first, length } : undefined
}

/** Whether a tensor's elements lie one after the other; the stride of an axis of one element says nothing. */
function isContiguous(shape: readonly number[], strides: readonly number[]): boolean {
  let expected = 1
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    if (shape[axis] !== 1 && strides[axis] !== expected) return false
    expected *= shape[axis]!
  }
  return true
}
