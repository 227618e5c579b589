/**
 * Puts tensor bytes where the kernels can see them: they are read into a WebAssembly memory, or, where the user asks for it, the
 * file's pages are mapped over a range of it. The bytes are the same either way.
 *
 * Reading is the default because its errors are values. The system ends a process (SIGBUS) that touches a mapped page which
 * it cannot bring: of a file that another process shortens, of a failing disk, of a network file system whose server is gone.
 * No check of the size before the access closes that race.
 *
 * Works in any thread; a memory belongs to one `Windows`. The memory must not grow while slots are in use.
 */

import { fstatSync, readSync } from 'node:fs'
import { fault } from '../../core/diagnostics.js'
import type { WebAssembly } from '../../core/webassembly.js'
import { type Mapper, mapper } from './mmap.js'

export type WindowMode = 'map' | 'read'

/** An input that is open for reading. */
export interface WindowFile {
  readonly fd: number
  /** For messages. */
  readonly path: string
  /** In bytes, as it was when the run was planned. */
  readonly size: number
}

export interface Slot {
  /**
   * `file` should be the same object in each call for a file: another one is mapped anew. Makes `bytes` bytes of the file, from `offset` on, readable in the memory and returns where they lie. They stay
   * there until the next call on this slot. `bytes` may be up to the slot's capacity less a page.
   * Error with exit 1: `input-changed`, if the file no longer has its size.
   */
  at(file: WindowFile, offset: number, bytes: number): number
}

export interface Windows {
  /** What is really done: `read` where `map` was asked for but can't be had. */
  readonly mode: WindowMode
  /** In bytes. A slot's address and capacity are multiples of it. */
  readonly pageSize: number
  slot(address: number, capacity: number): Slot
  /** Gives all slots' pages back to the memory, as zeros, so that no file stays in use. */
  close(): void
}

/** WebAssembly's own page, a multiple of every system's: fits where none is mapped. */
const WASM_PAGE = 65536

/** `TERGE_IO=map` in the environment asks for mapping. */
export const defaultMode = (): WindowMode => (process.env.TERGE_IO === 'map' ? 'map' : 'read')

export function openWindows(memory: WebAssembly.Memory, mode: WindowMode = defaultMode()): Windows {
  const maps = mode === 'map' ? mapper() : undefined
  const pageSize = maps?.pageSize ?? WASM_PAGE
  const closers: (() => void)[] = []
  return {
    mode: maps ? 'map' : 'read',
    pageSize,
    slot(address, capacity) {
      if (
        address % pageSize !== 0 ||
        capacity % pageSize !== 0 ||
        capacity < 2 * pageSize ||
        address + capacity > memory.buffer.byteLength
      )
        throw new Error(`internal: a slot of ${capacity} bytes at ${address} does not fit pages or memory`)
      if (!maps) return readingSlot(memory, address, capacity)
      const slot = mappedSlot(memory, maps, address, capacity)
      closers.push(slot.release)
      return slot
    },
    close() {
      for (const close of closers.splice(0)) close()
    },
  }
}

function readingSlot(memory: WebAssembly.Memory, address: number, capacity: number): Slot {
  return {
    at(file, offset, bytes) {
      check(file, offset, bytes, capacity)
      const target = new Uint8Array(memory.buffer, address, bytes)
      let done = 0
      while (done < bytes) {
        const got = readSome(file, target, done, bytes - done, offset + done)
        if (got === 0) throw changed(file, offset + done)
        done += got
      }
      return address
    },
  }
}

function mappedSlot(
  memory: WebAssembly.Memory,
  maps: Mapper,
  address: number,
  capacity: number,
): Slot & { release(): void } {
  const { pageSize } = maps
  // What the slot's pages show now: bytes from `start` to `end` of this file, by identity, as descriptors are used again.
  let mapped: { readonly file: WindowFile; readonly start: number; readonly end: number } | undefined
  // For files that their system can't map (some network and user-space ones).
  let reading: Slot | undefined
  const release = (): void => {
    if (mapped) maps.unmap(memory, address, capacity)
    mapped = undefined
  }
  return {
    release,
    at(file, offset, bytes) {
      if (reading) return reading.at(file, offset, bytes)
      check(file, offset, bytes, capacity - pageSize)
      if (mapped?.file !== file || offset < mapped.start || offset + bytes > mapped.end) {
        const start = offset - (offset % pageSize)
        const end = Math.min(file.size, start + capacity)
        if (end > start && !maps.map(memory, address, end - start, file.fd, start)) {
          maps.unmap(memory, address, capacity)
          mapped = undefined
          reading = readingSlot(memory, address, capacity)
          return reading.at(file, offset, bytes)
        }
        mapped = { file, start, end }
      }
      return address + (offset - mapped.start)
    },
  }
}

/** Before each use: a page beyond the end of a mapped file that shrank would end the process, and a file that grew is another. */
function check(file: WindowFile, offset: number, bytes: number, room: number): void {
  if (offset < 0 || bytes < 0 || bytes > room || offset + bytes > file.size)
    throw new Error(`internal: ${bytes} bytes at ${offset} of ${file.size} do not fit a slot with room for ${room}`)
  const { size } = fstatSync(file.fd)
  if (size !== file.size) throw changed(file, size)
}

function readSome(file: WindowFile, target: Uint8Array, at: number, bytes: number, offset: number): number {
  try {
    return readSync(file.fd, target, at, bytes, offset)
  } catch (error) {
    const hint = 'check the disk or the network file system, then run again'
    throw fault('read-failed', `${file.path}: cannot be read: ${(error as Error).message}`, hint, 1)
  }
}

const changed = (file: WindowFile, size: number) =>
  fault(
    'input-changed',
    `${file.path}: changed while it was read: ${file.size} bytes when the run was planned, ${size} now`,
    'run again when nothing writes to it',
    1,
  )
