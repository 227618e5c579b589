/** A worker thread: it has its own WebAssembly memory and windows on the inputs, and runs tasks one after another. */

import { parentPort } from 'node:worker_threads'
import { Fault } from '../../core/diagnostics.js'
import { systemFault } from '../../core/resources.js'
import { Stopped } from '../../kernels/dense/team.js'
import { fileWriter } from '../files.js'
import { KEPT_PROGRAMS, REST, type Release, type WorkerFailure, type WorkerSetup } from '../pools/threads.js'
import type { Program, Task, TaskResult } from '../program.js'
import type { Prepared } from './evaluate.js'
import { openRunner, teamMember } from './runner.js'

const port = parentPort
if (!port) throw new Error('internal: the worker was not started as a worker')

interface Run {
  readonly run: (task: Task) => TaskResult
  /** Closes some files until they are used again. */
  readonly release: (files: Release['release']) => void
  /** Closes its files. */
  readonly close: () => void
}

/** Prepares for a run. */
function prepareRun(setup: WorkerSetup): Run {
  const runner = openRunner(setup)
  const team = setup.team && teamMember(setup.team.memory, setup.team.thread)
  const { write, release, close } = fileWriter(runner.bytes, setup.outputs, setup.openFiles)
  /** Recent programs by job. The main thread sends a program again if it could have been dropped. */
  const programs = new Map<number, { readonly program: Program; readonly prepared: Prepared }>()

  function programOf({ job, program }: Task): Prepared {
    const known = programs.get(job)
    if (known) return known.prepared
    if (!program) throw new Error(`internal: job ${job} came without its program`)
    const prepared = runner.prepare(program, { write, ...(team ? { team } : {}) })
    programs.set(job, { program, prepared })
    for (const [oldest, { program }] of programs) {
      if (programs.size <= KEPT_PROGRAMS) break
      programs.delete(oldest)
      runner.drop(program)
    }
    return prepared
  }

  return {
    run: (task) => programOf(task).run(task),
    release({ inputs, outputs }) {
      runner.release(inputs)
      release(outputs)
    },
    close() {
      runner.close()
      close()
    },
  }
}

function answer(run: Run['run'], task: Task): void {
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

// The first message is the setup of the run. A worker that was started early waits for it, and one that is kept for the next.
function wait(): void {
  port?.once('message', (setup: WorkerSetup) => {
    const { run, release, close } = prepareRun(setup)
    port?.on('message', (message: Task | Release | typeof REST) => {
      if (message === REST) {
        close()
        port?.removeAllListeners('message')
        wait()
        port?.postMessage('rested')
      } else if ('release' in message) {
        release(message.release)
        port?.postMessage('released')
      } else answer(run, message)
    })
    port?.postMessage('ready')
  })
}
wait()
