import { readAt } from '../../../storage/nameless.js'
import type { HeldReader, MemoryReader } from '../../../views/readers.js'
import type { Reading } from './reading.js'

/** Copies elements that a step computed. */
export function readMemory(
  { values }: MemoryReader,
  elementBytes: number,
  { worker }: Reading,
  first: number,
  count: number,
  address: number,
): void {
  if (!values) throw new Error('internal: values that have not been computed')
  const into = new Uint8Array(worker.memory.buffer, address, count * elementBytes)
  if ('fd' in values) readAt(values.fd, into, first * elementBytes)
  else into.set(new Uint8Array(values.buffer, values.byteOffset + first * elementBytes, into.length))
}

/** Copies elements of a result from the team's memory. */
export function readHeld(
  { address: held }: HeldReader,
  elementBytes: number,
  { worker }: Reading,
  first: number,
  count: number,
  address: number,
): void {
  if (!worker.team) throw new Error('internal: held work without a memory to hold it')
  const { buffer } = worker.team.memory.memory
  const from = new Uint8Array(buffer, held + first * elementBytes, count * elementBytes)
  new Uint8Array(worker.memory.buffer, address, from.length).set(from)
}
