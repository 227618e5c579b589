/** A worker thread: its own WebAssembly memory, windows on the inputs, and tasks one after the other. */

import { parentPort } from 'node:worker_threads'
import { Fault } from '../../core/diagnostics.js'
import { systemFault } from '../../core/resources.js'
import { WebAssembly } from '../../core/webassembly.js'
import { Stopped } from '../../kernels/dense/team.js'
import { ARENA_START, instantiateKernels } from '../../kernels/index.js'
import { openWindows, type WindowFile, type WindowMode } from '../../storage/local/window.js'
import { fileCache, openInput, openOutput, writeFully } from '../files.js'
import { ARENA_END, KEPT_PROGRAMS, type WorkerFailure, type WorkerSetup } from '../pools/threads.js'
import type { Task, TaskResult } from '../program.js'
import { type Prepared, prepare } from './evaluate.js'

const port = parentPort
if (!port) throw new Error('internal: the worker was not started as a worker')

/** Makes ready for a run, and gives the function that does its tasks. */
function prepareRun(setup: WorkerSetup): { readonly mode: WindowMode; readonly run: (task: Task) => TaskResult } {
  const memory = new WebAssembly.Memory({ initial: setup.pages, maximum: setup.pages })
  const kernels = instantiateKernels(setup.module, memory)
  const { team } = setup
  const instance = team && new WebAssembly.Instance(team.memory.module, { env: { memory: team.memory.memory } })
  const windows = openWindows(memory, setup.mode)
  const slots = Array.from({ length: setup.slots }, (_, index) =>
    windows.slot(ARENA_END + index * setup.slotBytes, setup.slotBytes),
  )
  const bytes = new Uint8Array(memory.buffer)
  const inputs = fileCache((index): WindowFile => {
    const { path, size } = setup.inputs[index]!
    return { fd: openInput(path), path, size }
  }, setup.openFiles)
  const outputs = fileCache((index) => {
    const path = setup.outputs[index]!
    return { fd: openOutput(path), path }
  }, setup.openFiles)

  /** Programs by job, the recent ones: the main thread sends a program again when it may have gone from here. */
  const programs = new Map<number, Prepared>()

  function programOf(task: Task): Prepared {
    const known = programs.get(task.job)
    if (known) return known
    if (!task.program) throw new Error(`internal: job ${task.job} came without its program`)
    const prepared = prepare(task.program, {
      kernels,
      memory,
      windows,
      slots,
      slotRoom: setup.slotBytes - windows.pageSize,
      scratch: { start: ARENA_START, bytes: ARENA_END - ARENA_START },
      ...(team && instance ? { team: { ...team, instance } } : {}),
      input: inputs.get,
      write(file, address, length, offset) {
        const { fd, path } = outputs.get(file)
        writeFully(fd, bytes, address, length, offset, path)
      },
    })
    programs.set(task.job, prepared)
    for (const job of programs.keys()) if (programs.size > KEPT_PROGRAMS) programs.delete(job)
    return prepared
  }

  return { mode: windows.mode, run: (task) => programOf(task).run(task) }
}

function answer(run: (task: Task) => TaskResult, task: Task): void {
  try {
    const result = run(task)
    const parts = [result.digests, result.sums, result.counts]
    const transfer = parts.flatMap((part) => (part ? [part.buffer as ArrayBuffer] : []))
    port?.postMessage({ result }, transfer)
  } catch (error) {
    const fault = error instanceof Fault ? error : systemFault(error)
    const failure: WorkerFailure =
      error instanceof Stopped
        ? { stopped: true }
        : fault
          ? { diagnostics: fault.diagnostics, exit: fault.exit }
          : { message: error instanceof Error ? (error.stack ?? error.message) : String(error) }
    port?.postMessage({ failure })
  }
}

// The first message says what the run is about; a worker that was started ahead waits for it.
port.once('message', (setup: WorkerSetup) => {
  const { mode, run } = prepareRun(setup)
  port.on('message', (task: Task) => answer(run, task))
  port.postMessage({ mode })
})
