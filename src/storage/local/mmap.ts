/**
 * Maps files over ranges of a WebAssembly memory with the C library's `mmap`, because Node has no `mmap`. The pages are shared
 * and read-only, so they use no anonymous memory, and a kernel that writes to them traps.
 */

import { createRequire } from 'node:module'
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
/** Platforms with 64-bit `off_t` and the constants above. */
const SUPPORTED = ['linux-x64', 'linux-arm64', 'darwin-x64', 'darwin-arm64']

interface Koffi {
  load(path: null): { func(definition: string): (...args: unknown[]) => number | bigint }
  address(value: Uint8Array): bigint
}

let known: Mapper | null | undefined

/** Other runtimes place a WebAssembly memory elsewhere: mapping over it there ends the process. They also name a Node version. */
const isNode = (): boolean => process.versions.bun === undefined && process.versions.deno === undefined

/** The mapper, or undefined if this runtime, platform or installation does not support mapping. Loads koffi at the first call. */
export function mapper(): Mapper | undefined {
  if (known === undefined) {
    try {
      known = isNode() && SUPPORTED.includes(`${process.platform}-${process.arch}`) ? load() : null
    } catch {
      known = null
    }
  }
  return known ?? undefined
}

function load(): Mapper {
  const koffi = createRequire(import.meta.url)('koffi') as Koffi
  const process = koffi.load(null)
  // The address is a number, because koffi's pointers would be boxed. The result is `intptr_t`, so MAP_FAILED is -1.
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
