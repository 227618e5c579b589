/**
 * The C library's `mmap`, laid over ranges of a WebAssembly memory: Node has none of its own. The pages are mapped
 * shared and read-only, so they cost no anonymous memory, and a kernel that wrote to them would trap.
 */

import { createRequire } from 'node:module'
import type { WebAssembly } from '../../core/webassembly.js'

export interface Mapper {
  readonly pageSize: number
  /** Lays `length` bytes of the file, from `offset` on, over the memory at `address`; both multiples of a page. False where the file can't be mapped. */
  map(memory: WebAssembly.Memory, address: number, length: number, fd: number, offset: number): boolean
  /** Lays fresh zero pages there, writable as before. */
  unmap(memory: WebAssembly.Memory, address: number, length: number): void
}

const PROT_READ = 1
const PROT_WRITE = 2
const MAP_SHARED = 1
const MAP_PRIVATE = 2
// The same on Linux and macOS, unlike the next.
const MAP_FIXED = 0x10
const MAP_ANONYMOUS = process.platform === 'darwin' ? 0x1000 : 0x20
const MAP_FAILED = -1
/** Where `off_t` has 64 bits and the constants above hold. */
const SUPPORTED = ['linux-x64', 'linux-arm64', 'darwin-x64', 'darwin-arm64']

interface Koffi {
  load(path: null): { func(definition: string): (...args: unknown[]) => number | bigint }
  address(value: Uint8Array): bigint
}

let known: Mapper | null | undefined

/** Mapping, or nothing where this platform or installation has none. Loads koffi at the first call. */
export function mapper(): Mapper | undefined {
  if (known === undefined) {
    try {
      known = SUPPORTED.includes(`${process.platform}-${process.arch}`) ? load() : null
    } catch {
      known = null
    }
  }
  return known ?? undefined
}

function load(): Mapper {
  const koffi = createRequire(import.meta.url)('koffi') as Koffi
  const process = koffi.load(null)
  // The address as a number: koffi's pointers would be boxed. `intptr_t` back, so that MAP_FAILED is -1.
  const mmap = process.func('intptr_t mmap(uintptr_t addr, size_t length, int prot, int flags, int fd, int64_t offset)')
  const pageSize = Number(process.func('int getpagesize()')())
  const place = (memory: WebAssembly.Memory, address: number): bigint =>
    koffi.address(new Uint8Array(memory.buffer)) + BigInt(address)
  return {
    pageSize,
    map(memory, address, length, fd, offset) {
      const got = mmap(place(memory, address), length, PROT_READ, MAP_SHARED | MAP_FIXED, fd, offset)
      return Number(got) !== MAP_FAILED
    },
    unmap(memory, address, length) {
      const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED
      const got = mmap(place(memory, address), length, PROT_READ | PROT_WRITE, flags, -1, 0)
      if (Number(got) === MAP_FAILED) throw new Error('internal: pages of a WebAssembly memory could not be given back')
    },
  }
}
