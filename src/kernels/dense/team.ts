/**
 * Threads that work in step on one shared memory. All run the same code, and `each` distributes shares of the work. The result
 * of a share must not depend on the thread that does it.
 */

import { readFileSync } from 'node:fs'
import { aligned, WebAssembly } from '../../core/webassembly.js'

/** Bytes at the start of the memory for the module's data and the team's own words. */
export const TEAM_BYTES = 65536
/** Bytes of each thread's own scratch space, at the end of the memory. */
const THREAD_BYTES = 5 << 18

const WORDS = { arrived: 8192, round: 8196, stopped: 8200, counters: 8256 } as const
const COUNTERS = 64
/** Rounds of polling a word before a thread sleeps: some tens of microseconds. */
const PATIENCE = 20000

interface Exports {
  dataEnd(): number
  dot(x: number, y: number, n: number): number
  rowsDot(a: number, stride: number, rows: number, n: number, v: number, out: number): void
  rowsSum(out: number, a: number, stride: number, rows: number, n: number, c: number, step: number, sign: number): void
  axpy(y: number, x: number, c: number, n: number): void
  scale(x: number, c: number, n: number): void
  rotate(x: number, y: number, c: number, s: number, n: number): void
  pack(
    src: number,
    rowStride: number,
    stride: number,
    rows: number,
    depth: number,
    narrow: boolean,
    c: number,
    dst: number,
  ): void
  packAcross(src: number, stride: number, rows: number, depth: number, narrow: boolean, c: number, dst: number): void
  product(a: number, b: number, c: number, m: number, n: number, k: number, stride: number): void
  loadTile(
    tile: number,
    tileStride: number,
    c: number,
    rowStride: number,
    stride: number,
    m: number,
    n: number,
    narrow: boolean,
  ): void
  storeTile(
    tile: number,
    tileStride: number,
    c: number,
    rowStride: number,
    stride: number,
    m: number,
    n: number,
    narrow: boolean,
  ): void
  storeSymmetric(
    tile: number,
    tileStride: number,
    c: number,
    rowStride: number,
    i0: number,
    j0: number,
    m: number,
    n: number,
  ): void
  secularRoot(k: number, d: number, z2: number, rho: number, norm2: number, j: number, gaps: number): number
  weights(k: number, d: number, gaps: number, stride: number, from: number, to: number, w: number): void
  secularVector(k: number, z: number, gaps: number, places: number, out: number): void
}

export interface Team {
  readonly thread: number
  readonly threads: number
  readonly kernels: Exports
  /** Address of this thread's scratch space of THREAD_BYTES. */
  readonly scratch: number
  readonly f64: (at: number, length: number) => Float64Array
  readonly f32: (at: number, length: number) => Float32Array
  readonly u8: (at: number, length: number) => Uint8Array
  readonly i32: (at: number, length: number) => Int32Array
  /** Waits for all threads. Throws `Stopped` if the work was stopped. */
  readonly barrier: () => void
  /** Shares 0 … count − 1, each done by one thread; ends when all are done. */
  readonly each: (count: number, work: (share: number) => void) => void
  /** Done by one thread while the others wait. */
  readonly once: (work: () => void) => void
  /** Reserves bytes at a multiple of 64. The address is the same on every thread. */
  readonly allocate: (bytes: number) => number
  /** The address of the next room. `release` frees all rooms from there. */
  readonly mark: () => number
  readonly release: (mark: number) => void
}

export class Stopped extends Error {}

const WASM = new URL('../dense.wasm', import.meta.url)
let compiled: WebAssembly.Module | undefined

/** The dense module, compiled once per thread. It works on shared memories. */
export function denseModule(): WebAssembly.Module {
  compiled ??= new WebAssembly.Module(readFileSync(WASM))
  return compiled
}

export interface TeamMemory {
  readonly module: WebAssembly.Module
  readonly memory: WebAssembly.Memory
  readonly threads: number
}

/** A memory with room for `bytes` bytes of matrices beside what a team of so many threads needs itself. */
export function createTeamMemory(bytes: number, threads: number): TeamMemory {
  const pages = Math.ceil(teamBytes(bytes, threads) / 65536)
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true })
  return { module: denseModule(), memory, threads }
}

/** Bytes of such a memory. */
export const teamBytes = (bytes: number, threads: number): number =>
  TEAM_BYTES + Math.ceil(bytes / 65536) * 65536 + threads * THREAD_BYTES

/** The most bytes of matrices that a memory of 32-bit addresses has room for, with threads to work on them. */
export const MOST_BYTES = 65000 * 65536

/** Resets the state of a team before new work. */
export function resetTeam({ memory }: TeamMemory): void {
  new Int32Array(memory.buffer, WORDS.arrived, 256).fill(0)
}

/** Makes all threads that wait, now or later, throw `Stopped`. */
export function stopTeam({ memory }: TeamMemory): void {
  const words = new Int32Array(memory.buffer)
  Atomics.store(words, WORDS.stopped / 4, 1)
  Atomics.add(words, WORDS.round / 4, 1)
  Atomics.notify(words, WORDS.round / 4)
}

/** A thread's place in the team, for one piece of work that begins after `resetTeam`; its rooms begin at `start`. */
export function joinTeam(
  instance: WebAssembly.Instance,
  { memory, threads }: TeamMemory,
  thread: number,
  start: number,
): Team {
  const kernels = instance.exports as unknown as Exports
  if (kernels.dataEnd() > WORDS.arrived) throw new Error("internal: the dense module has outgrown the team's words")
  const { buffer } = memory
  const words = new Int32Array(buffer)
  const scratch = buffer.byteLength - (threads - thread) * THREAD_BYTES
  const end = buffer.byteLength - threads * THREAD_BYTES
  let next = start
  let turn = 0
  const counter = (index: number) => WORDS.counters / 4 + (index % COUNTERS)

  function barrier(): void {
    const round = Atomics.load(words, WORDS.round / 4)
    if (Atomics.load(words, WORDS.stopped / 4) !== 0) throw new Stopped()
    if (Atomics.add(words, WORDS.arrived / 4, 1) === threads - 1) {
      Atomics.store(words, WORDS.arrived / 4, 0)
      Atomics.add(words, WORDS.round / 4, 1)
      Atomics.notify(words, WORDS.round / 4)
    } else {
      let patience = PATIENCE
      while (Atomics.load(words, WORDS.round / 4) === round) {
        if (patience-- <= 0) Atomics.wait(words, WORDS.round / 4, round)
      }
    }
    if (Atomics.load(words, WORDS.stopped / 4) !== 0) throw new Stopped()
  }

  return {
    thread,
    threads,
    kernels,
    scratch,
    f64: (at, length) => new Float64Array(buffer, at, length),
    f32: (at, length) => new Float32Array(buffer, at, length),
    u8: (at, length) => new Uint8Array(buffer, at, length),
    i32: (at, length) => new Int32Array(buffer, at, length),
    barrier,
    each(count, work) {
      turn++
      // All are at most one turn apart, so half the counters away nobody looks.
      if (thread === 0) Atomics.store(words, counter(turn + COUNTERS / 2), 0)
      const at = counter(turn)
      for (let share = Atomics.add(words, at, 1); share < count; share = Atomics.add(words, at, 1)) work(share)
      barrier()
    },
    once(work) {
      if (thread === 0) work()
      barrier()
    },
    allocate(bytes) {
      const at = next
      next += aligned(bytes)
      if (next > end) throw new Error(`internal: the matrices need more than ${end - start} bytes`)
      return at
    },
    mark: () => next,
    release(mark) {
      next = mark
    },
  }
}
