/** Finds the place of a tensor in the file from its description, and checks every number against the file. */
import { type Fault, fault } from '../../../core/diagnostics.js'
import { quote } from '../../../core/suggest.js'
import { bytesOf } from '../../../encodings/index.js'
import type { ContainerTensor } from '../types.js'
import { isUntyped } from './globals.js'
import { DAMAGED, HARMFUL } from './hints.js'
import { describe, isNatural, isOpaque, isStorage, type StorageRef, type TensorRef, type Value } from './values.js'
import type { StoredEntry } from './zip.js'

/** Finds the bytes of a storage. Error: `missing-storage`. */
export type Locate = (storage: StorageRef, whose: string) => Promise<StoredEntry> | StoredEntry

/** PyTorch's own limit. */
const MAX_RANK = 64
/**
 * An expanded tensor repeats its elements without storing them, so a file of a kilobyte could describe an output of any
 * size. All tensors together may be at most `EXPANSION` times as large as the file, plus `EXPANSION_FREE` bytes.
 */
const EXPANSION = 16
const EXPANSION_FREE = 2 ** 30

/** Maximum bytes of all tensors in a file of `size` bytes, once they are written out. */
export const outputAllowance = (size: number): { left: number } => ({ left: EXPANSION_FREE + EXPANSION * size })

/**
 * Finds the place of a tensor. All tensors of a file share `allowance`.
 * Errors: `unreadable-tensor` if it depends on something unknown, `bad-tensor`, `shape-overflow`, `expansion`, `missing-storage`.
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
  if (tensor.dtype && tensor.dtype !== dtype) throw bad(`its dtype is ${tensor.dtype}, but its storage holds ${dtype}`)
  const shape = naturals(tensor.shape)
  const strides = naturals(tensor.strides)
  if (!shape || !strides || shape.length !== strides.length || !isNatural(tensor.offset))
    throw bad('its shape, strides and offset do not match, or are not non-negative integers')
  const width = bytesOf(dtype)
  const available = elementsOf(storage, width)
  const entry = await locate(storage, whose)
  // Check the claimed length of the storage against the bytes in the file.
  const whole = storage.length * storage.width
  if (!(whole <= entry.size)) throw bad(`its storage claims ${whole} bytes, but the file has ${entry.size}`)
  if (!available) throw bad('its storage is a view that ends outside of the storage')

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
    throw fault('expansion', `${whose}: the tensors are more than ${EXPANSION} times as large as the file`, HARMFUL)
  const span = shape.reduce((sum, size, axis) => sum + (size - 1) * strides[axis]!, 1)
  const last = tensor.offset + span
  // Sums and products above 2⁵³ are inexact, but larger than any storage.
  if (!(last <= available.length)) throw bad(`it ends at element ${last}, but its storage has ${available.length}`)
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

/** The range of elements in the storage that a tensor may use. */
function elementsOf(storage: StorageRef, width: number): { first: number; length: number } | undefined {
  if (!storage.view) return { first: 0, length: storage.dtype ? storage.length : Math.floor(storage.length / width) }
  const [first, length] = storage.view
  return storage.dtype && first + length <= storage.length ? { first, length } : undefined
}

/** Whether a tensor is contiguous in row-major order. The stride of an axis of size 1 does not matter. */
function isContiguous(shape: readonly number[], strides: readonly number[]): boolean {
  let expected = 1
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    if (shape[axis] !== 1 && strides[axis] !== expected) return false
    expected *= shape[axis]!
  }
  return true
}
