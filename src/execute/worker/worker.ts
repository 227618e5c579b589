/** A worker thread: it has its own WebAssembly memory and windows on the inputs, and runs tasks one after another. */

import { parentPort } from 'node:worker_threads'
import { Fault } from '../../core/diagnostics.js'
import { systemFault } from '../../core/resources.js'
import { Stopped } from '../../kernels/dense/team.js'
import { fileWriter } from '../files.js'
import { KEPT_PROGRAMS, type WorkerFailure, type WorkerSetup } from '../pools/threads.js'
import type { Task, TaskResult } from '../program.js'
import type { Prepared } from './evaluate.js'
import { openRunner, teamMember } from './runner.js'

const port = parentPort
if (!port) throw new Error('internal: the worker was not started as a worker')

/** Prepares for a run. Returns the function that runs its tasks. */
function prepareRun(setup: WorkerSetup): (task: Task) => TaskResult {
  const runner = openRunner(setup)
  const team = setup.team && teamMember(setup.team.memory, setup.team.thread)
  const { write } = fileWriter(runner.bytes, setup.outputs, setup.openFiles)
  /** Recent programs by job. The main thread sends a program again if it could have been dropped. */
  const programs = new Map<number, Prepared>()

  function programOf({ job, program }: Task): Prepared {
    const known = programs.get(job)
    if (known) return known
    if (!program) throw new Error(`internal: job ${job} came without its program`)
    const prepared = runner.prepare(program, { write, ...(team ? { team } : {}) })
    programs.set(job, prepared)
    for (const oldest of programs.keys()) if (programs.size > KEPT_PROGRAMS) programs.delete(oldest)
    return prepared
  }

  return (task) => programOf(task).run(task)
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

// The first message is the setup of the run. A worker that was started early waits for it.
port.once('message', (setup: WorkerSetup) => {
  const run = prepareRun(setup)
  port.on('message', (task: Task) => answer(run, task))
  port.postMessage('ready')
})
