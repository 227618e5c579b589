/** Limits of the system (`ulimit`), and errors that name the limit that was reached. */
import { readdirSync, readFileSync } from 'node:fs'
import { type Fault, fault } from './diagnostics.js'

export interface Limits {
  /** Bytes of address space. Absent if there is no limit or it is unknown. */
  readonly addressSpace?: number
  readonly openFiles?: number
}

/** The limits of this process on Linux; empty on other systems. */
export function limits(): Limits {
  let text: string
  try {
    text = readFileSync('/proc/self/limits', 'utf8')
  } catch {
    return {}
  }
  const soft = (name: string): number | undefined => {
    const [, value] = new RegExp(`^${name} +(\\d+)`, 'm').exec(text) ?? []
    return value === undefined ? undefined : Number(value)
  }
  const [addressSpace, openFiles] = [soft('Max address space'), soft('Max open files')]
  return {
    ...(addressSpace === undefined ? {} : { addressSpace }),
    ...(openFiles === undefined ? {} : { openFiles }),
  }
}

/** Descriptors reserved for files that are open for a short time: journals, folders, modules. */
const SPARE_FILES = 12
/** Descriptors that each worker needs itself. */
const WORKER_FILES = 4
/** Maximum input files, and maximum output files, that a worker keeps open. */
const MOST_FILES = 64

/**
 * How many of the requested workers have enough descriptors, and how many input files and output files each may keep
 * open.
 */
export function shareFiles(threads: number): { readonly threads: number; readonly files: number } {
  const { openFiles } = limits()
  if (openFiles === undefined) return { threads, files: MOST_FILES }
  let taken = 0
  try {
    taken = readdirSync('/proc/self/fd').length
  } catch {
    return { threads: 1, files: 1 }
  }
  const free = openFiles - taken - SPARE_FILES
  const able = Math.max(1, Math.min(threads, Math.floor(free / (WORKER_FILES + 4))))
  return { threads: able, files: Math.max(1, Math.min(MOST_FILES, Math.floor((free / able - WORKER_FILES) / 2))) }
}

/** Bytes of address space that Node reserves per thread. If they are not available, Node ends the process. */
const THREAD_ADDRESSES = 0.9e9

/** How many of the requested threads fit into the address space. */
export function threadsWithinAddresses(threads: number): number {
  const { addressSpace } = limits()
  if (addressSpace === undefined) return threads
  try {
    const [, used] = /^VmSize:\s+(\d+) kB/m.exec(readFileSync('/proc/self/status', 'utf8')) ?? []
    const free = addressSpace - Number(used) * 1024
    return Math.max(0, Math.min(threads, Math.floor(free / THREAD_ADDRESSES)))
  } catch {
    return threads
  }
}

const NO_MEMORY = /could not allocate memory|Array buffer allocation failed|WebAssembly\.\w+\(\): Out of memory/
const NO_THREADS = /ERR_WORKER_INIT_FAILED|Worker initialization failure/

const SMALL_MEMORIES = '--disable-wasm-trap-handler'

/** The error if not even one thread, or one WebAssembly memory, fits into the address space. */
export function noAddresses(limit = limits().addressSpace ?? 0): Fault {
  const small = [...process.execArgv, ...(process.env.NODE_OPTIONS ?? '').split(/\s+/)].includes(SMALL_MEMORIES)
  const memories = small ? '' : ' and WebAssembly 10 GB per memory'
  const way = small ? '' : ` set NODE_OPTIONS=${SMALL_MEMORIES}, which is slower,`
  return fault(
    'too-few-resources',
    `the address space is used up: it is limited to ${(limit / 1e9).toFixed(1)} GB (ulimit -v), and Node reserves 1 GB per thread${memories}`,
    `raise the limit (ulimit -v unlimited),${way} or run with fewer --threads`,
    1,
  )
}

/** The user error for a system error that reports an exhausted resource; undefined for other errors. */
export function resourceFault(error: unknown): Fault | undefined {
  const { code = '', message = '' } = error as NodeJS.ErrnoException
  if (code === 'EMFILE' || code === 'ENFILE') {
    const { openFiles } = limits()
    const known = openFiles === undefined ? '' : ` (ulimit -n is ${openFiles})`
    const hint = 'raise the limit, such as with ulimit -n 1024, or run with fewer --threads'
    return fault('too-few-resources', `too many open files${known}: ${message}`, hint, 1)
  }
  if (NO_MEMORY.test(message) || code === 'ENOMEM' || code === 'ERR_WORKER_OUT_OF_MEMORY') {
    const { addressSpace } = limits()
    if (addressSpace === undefined)
      return fault('too-few-resources', 'the system is out of memory', 'lower --memory or --threads', 1)
    return noAddresses(addressSpace)
  }
  if (NO_THREADS.test(code) || NO_THREADS.test(message) || code === 'EAGAIN') {
    const hint = 'run with fewer --threads, or raise the process limit (ulimit -u)'
    return fault('too-few-resources', 'the system cannot start another thread', hint, 1)
  }
  return undefined
}

/** The user error for a failed system call, such as a full disk or an unreadable file; undefined for other errors. */
export function systemFault(error: unknown): Fault | undefined {
  const known = resourceFault(error)
  if (known) return known
  const { code, syscall, message } = error as NodeJS.ErrnoException
  return code !== undefined && syscall !== undefined ? fault('system', message, undefined, 1) : undefined
}
