import { Worker } from 'node:worker_threads'
import { shareFiles, threadsWithinAddresses } from '../../core/resources.js'
import { compileKernels } from '../../kernels/index.js'

/** Started workers without work. */
const spare: Worker[] = []

/**
 * How many workers may wait for the next run instead of ending with theirs: none, unless a process does many small runs, to which
 * starting workers is most of the work. What they read with is gone; their memories go when their garbage is collected.
 */
export const kept = { most: 0 }

export const spareWorkers = (): number => spare.length

const startWorker = (): Worker => new Worker(new URL('../worker/worker.js', import.meta.url), { stdin: false })

/**
 * Starts workers and compiles the kernels before the plan is known: both take as long as planning, and
 * can run at the same time. Unused workers do not keep the process alive.
 */
export function startAhead(threads: number): void {
  // Code that needs the kernels will get the error.
  compileKernels().catch(() => {})
  // Workers that an earlier run did not use still wait.
  for (let more = threadsWithinAddresses(shareFiles(threads).threads) - spare.length; more > 0; more--)
    keepWorker(startWorker())
}

/** Lets a worker wait for its setup. It does not keep the process alive. */
export function keepWorker(worker: Worker): void {
  worker.unref()
  // A worker that fails early is not used.
  worker.once('error', () => spare.splice(spare.indexOf(worker), spare.includes(worker) ? 1 : 0))
  spare.push(worker)
}

/** How many of `count` workers are possible: those that run already, and those that fit into memory. */
export const workersWithin = (wanted: number): number =>
  spare.length >= wanted ? wanted : spare.length + threadsWithinAddresses(wanted - spare.length)

/** Takes a started worker, or starts one. It waits for its setup. */
export function takeWorker(): Worker {
  const worker = spare.pop()
  worker?.ref()
  return worker ?? startWorker()
}
