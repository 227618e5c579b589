/**
 * Restarts the program with another Node flag if the address space is limited (`ulimit -v`, as on many clusters). By default Node
 * reserves 10 GB of address space for each WebAssembly memory, and a run has one or two memories per thread. With the flag, code
 * checks each access instead, which is slower, and a memory reserves only what it uses. The process keeps its id, signals,
 * environment and streams.
 */
import { availableParallelism } from 'node:os'
import { limits } from '../../core/resources.js'
import { cLibrary } from '../../core/system/cLibrary.js'

const FLAG = '--disable-wasm-trap-handler'
/** Bytes of address space that Node reserves for one memory. */
const RESERVED = 10.5e9
/** Memories of a run in addition to those of its threads. */
const OTHERS = 8
const [F_SETFD, KEEP] = [2, 0]

/** Does not return if it restarts the program. Does nothing if there is enough address space, or no way to restart. */
export function saveAddressSpace(): void {
  if (process.platform !== 'linux') return
  const { addressSpace } = limits()
  if (addressSpace === undefined || addressSpace >= RESERVED * (2 * availableParallelism() + OTHERS)) return
  const given = [...process.execArgv, ...(process.env.NODE_OPTIONS ?? '').split(/\s+/)]
  if (given.includes(FLAG) || !process.allowedNodeEnvironmentFlags.has(FLAG)) return
  const libc = cLibrary()
  if (!libc) return
  try {
    const fcntl = libc.func('int fcntl(int fd, int cmd, ...)')
    const execv = libc.func('int execv(const char *path, const char **argv)')
    // Node marks its streams as close-on-exec.
    for (const fd of [0, 1, 2]) fcntl(fd, F_SETFD, 'int', KEEP)
    execv(process.execPath, [process.execPath, FLAG, ...process.execArgv, ...process.argv.slice(1), null])
  } catch {
    // The run reports an error if it runs out of address space.
  }
}
