/**
 * Starts the program anew where the address space is limited (`ulimit -v`, as on many clusters): with its trap handler Node reserves
 * 10 GB for each WebAssembly memory, and a run has one or two a thread. Without it reads and writes are checked by code, which is
 * slower, and a memory takes what it uses. The process stays the same one: its id, signals, environment and streams.
 */
import { createRequire } from 'node:module'
import { availableParallelism } from 'node:os'
import { limits } from '../../core/resources.js'

const FLAG = '--disable-wasm-trap-handler'
/** Bytes that are reserved for a memory. */
const RESERVED = 10.5e9
/** Memories of a run beside those of its threads. */
const OTHERS = 8
const [F_SETFD, KEEP] = [2, 0]

interface Koffi {
  load(path: null): { func(definition: string): (...args: unknown[]) => number }
}

/** Does not come back where it starts anew; does nothing where there is room, or no way to. */
export function saveAddressSpace(): void {
  if (process.platform !== 'linux') return
  const { addressSpace } = limits()
  if (addressSpace === undefined || addressSpace >= RESERVED * (2 * availableParallelism() + OTHERS)) return
  const given = [...process.execArgv, ...(process.env.NODE_OPTIONS ?? '').split(/\s+/)]
  if (given.includes(FLAG) || !process.allowedNodeEnvironmentFlags.has(FLAG)) return
  try {
    const libc = (createRequire(import.meta.url)('koffi') as Koffi).load(null)
    const fcntl = libc.func('int fcntl(int fd, int cmd, ...)')
    const execv = libc.func('int execv(const char *path, const char **argv)')
    // Node has its streams closed when another program takes its place.
    for (const fd of [0, 1, 2]) fcntl(fd, F_SETFD, 'int', KEEP)
    execv(process.execPath, [process.execPath, FLAG, ...process.execArgv, ...process.argv.slice(1), null])
  } catch {
    // Whoever runs out of address space says so.
  }
}
