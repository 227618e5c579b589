/**
 * Makes tensor bytes available to the kernels: reads them into a WebAssembly memory or, if the user requests it, maps the pages
 * of the file over a range of the memory. The bytes are the same in both cases.
 *
 * Reading is the default, because its errors can be handled. With mapping, the system kills the process (SIGBUS) if it can't load
 * a page: when another process shortens the file, the disk fails, or the server of a network file system is gone. Checking
 * the size before the access does not prevent this.
 *
 * Works in any thread. A memory belongs to one `Windows`, and must not grow while slots are in use.
 */

import { fstatSync, readSync } from 'node:fs'
import { fault } from '../../core/diagnostics.js'
import type { WebAssembly } from '../../core/webassembly.js'
import { type Mapper, mapper } from './mmap.js'

export type WindowMode = 'map' | 'read'

/** An open input. */
export interface WindowFile {
  readonly fd: number
  /** For messages. */
  readonly path: string
  /** In bytes, when the run was planned. */
  readonly size: number
}

export interface Slot {
  /**
   * Makes `bytes` bytes of the file, from `offset`, readable in the memory, and returns their address. They are valid until the
   * next call on this slot. `bytes` can be at most the slot's capacity minus one page. Pass the same `file` object in each call
   * for a file: a new object is mapped again. Errors with exit 1: `input-changed` if the size of the file changed, `read-failed`.
   */
  at(file: WindowFile, offset: number, bytes: number): number
  /**
   * Makes lines of `bytes` bytes readable, which lie `apart` bytes from each other in the file, and returns where they lie in the
   * memory. At most as many as `linesWithin` says.
   */
  lines(file: WindowFile, offset: number, bytes: number, apart: number, count: number): Lines
  /** How many lines fit into the slot; 0 if not even one does. */
  linesWithin(bytes: number, apart: number): number
}

export interface Lines {
  readonly address: number
  /** Bytes from one line to the next. */
  readonly stride: number
}

export interface Windows {
  /** The mode that is used: `read` if `map` was requested but is unsupported. */
  readonly mode: WindowMode
  /** In bytes. The address and capacity of slots are multiples of it. */
  readonly pageSize: number
  slot(address: number, capacity: number): Slot
  /** Copies `bytes` bytes of the file, from `offset`, to an address of the memory. Errors as with a slot. */
  read(file: WindowFile, offset: number, bytes: number, address: number): void
  /** Unmaps all slots until they are used again, so that no file takes room on the disk after it was removed. */
  release(): void
  /** Unmaps all slots, so that no file stays in use. Their pages become zeros. */
  close(): void
}

/** Bytes between two lines that are read with them, because that takes less time than another call to the system. */
const GAP = 12_288

/** WebAssembly's page size, which is a multiple of every system's. Used without mapping. */
const WASM_PAGE = 65536

/** The environment variable `TERGE_IO=map` requests mapping. */
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
    read(file, offset, bytes, address) {
      check(file, offset, bytes, Number.POSITIVE_INFINITY)
      readTo(memory, file, offset, bytes, address)
    },
    release() {
      for (const close of closers) close()
    },
    close() {
      for (const close of closers.splice(0)) close()
    },
  }
}

function readTo(memory: WebAssembly.Memory, file: WindowFile, offset: number, bytes: number, address: number): void {
  const target = new Uint8Array(memory.buffer, address, bytes)
  let done = 0
  while (done < bytes) {
    const got = readSome(file, target, done, bytes - done, offset + done)
    if (got === 0) throw changed(file, offset + done)
    done += got
  }
}

function readingSlot(memory: WebAssembly.Memory, address: number, capacity: number): Slot {
  const read = (file: WindowFile, offset: number, bytes: number, to: number): void =>
    readTo(memory, file, offset, bytes, to)
  const at = (file: WindowFile, offset: number, bytes: number): number => {
    check(file, offset, bytes, capacity)
    read(file, offset, bytes, address)
    return address
  }
  return {
    at,
    lines(file, offset, bytes, apart, count) {
      if (apart - bytes <= GAP) return { address: at(file, offset, (count - 1) * apart + bytes), stride: apart }
      if (count * bytes > capacity) throw new Error(`internal: ${count} lines of ${bytes} bytes do not fit a slot`)
      check(file, offset, (count - 1) * apart + bytes, Number.POSITIVE_INFINITY)
      for (let line = 0; line < count; line++) read(file, offset + line * apart, bytes, address + line * bytes)
      return { address, stride: bytes }
    },
    linesWithin: (bytes, apart) =>
      apart - bytes <= GAP ? joinedWithin(bytes, apart, capacity) : Math.floor(capacity / bytes),
  }
}

/** How many lines fit with what lies between them. */
const joinedWithin = (bytes: number, apart: number, room: number): number =>
  bytes > room ? 0 : Math.floor((room - bytes) / apart) + 1

function mappedSlot(
  memory: WebAssembly.Memory,
  maps: Mapper,
  address: number,
  capacity: number,
): Slot & { release(): void } {
  const { pageSize } = maps
  // The current mapping: bytes `start` to `end` of this file. Files are compared as objects, because descriptors are reused.
  let mapped: { readonly file: WindowFile; readonly start: number; readonly end: number } | undefined
  // For files on file systems without mapping (some network and user-space file systems).
  let reading: Slot | undefined
  const release = (): void => {
    if (mapped) maps.unmap(memory, address, capacity)
    mapped = undefined
  }
  const slot: Slot = {
    lines: (file, offset, bytes, apart, count) =>
      reading?.lines(file, offset, bytes, apart, count) ?? {
        address: slot.at(file, offset, (count - 1) * apart + bytes),
        stride: apart,
      },
    linesWithin: (bytes, apart) =>
      reading?.linesWithin(bytes, apart) ?? joinedWithin(bytes, apart, capacity - pageSize),
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
  return { ...slot, release }
}

/** Checks the size before each use: a page after the end of a file that shrank would kill the process, and a file that grew is different. */
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
