/**
 * Maps files over ranges of a WebAssembly memory with the C library's `mmap`, because Node has no `mmap`. The pages are shared
 * and read-only, so they use no anonymous memory, and a kernel that writes to them traps.
 */

import { type CLibrary, cLibrary } from '../../core/system/cLibrary.js'
import type { WebAssembly } from '../../core/webassembly.js'

export interface Mapper {
  readonly pageSize: number
  /** Maps `length` bytes of the file, from `offset`, over the memory at `address`. Both are multiples of the page size. False if the file can't be mapped. */
  map(memory: WebAssembly.Memory, address: number, length: number, fd: number, offset: number): boolean
  /** Replaces the mapping with writable zero pages. */
  unmap(memory: WebAssembly.Memory, address: number, length: number): void
}

const PROT_READ = 1
const PROT_WRITE = 2
const MAP_SHARED = 1
const MAP_PRIVATE = 2
// The same on Linux and macOS, unlike MAP_ANONYMOUS.
const MAP_FIXED = 0x10
const MAP_ANONYMOUS = process.platform === 'darwin' ? 0x1000 : 0x20
const MAP_FAILED = -1

let known: Mapper | null | undefined

/**
 * The mapper, or undefined if this runtime, platform or installation does not support mapping. Other runtimes place a WebAssembly
 * memory elsewhere: mapping over it there ends the process.
 */
export function mapper(): Mapper | undefined {
  if (known === undefined) {
    const library = cLibrary()
    try {
      known = library ? mapperOf(library) : null
    } catch {
      known = null
    }
  }
  return known ?? undefined
}

/** `off_t` has 64 bits on all platforms of `CLibrary`. */
function mapperOf(library: CLibrary): Mapper {
  // The address is a number, because pointers would be boxed. The result is `intptr_t`, so MAP_FAILED is -1.
  const mmap = library.func('intptr_t mmap(uintptr_t addr, size_t length, int prot, int flags, int fd, int64_t offset)')
  const pageSize = Number(library.func('int getpagesize()')())
  const place = (memory: WebAssembly.Memory, address: number): bigint =>
    library.address(new Uint8Array(memory.buffer)) + BigInt(address)
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
