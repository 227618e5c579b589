import { Worker } from 'node:worker_threads'
import { shareFiles, threadsWithinAddresses } from '../../core/resources.js'
import { compileKernels } from '../../kernels/index.js'

/** Workers that have been started and have nothing to do yet. */
const spare: Worker[] = []

const startWorker = (): Worker => new Worker(new URL('../worker/worker.js', import.meta.url), { stdin: false })

/**
 * Starts workers before it is known what they will work on, and compiles the kernels: both take as long as planning does, and
 * can be done meanwhile. Workers that nobody takes keep no process alive.
 */
export function startAhead(threads: number): void {
  // Whoever needs the kernels will hear of it.
  compileKernels().catch(() => {})
  // Those that an earlier run did not take still wait.
  for (let more = threadsWithinAddresses(shareFiles(threads).threads) - spare.length; more > 0; more--) {
    const worker = startWorker()
    worker.unref()
    // One that fails before it is taken is not taken.
    worker.once('error', () => spare.splice(spare.indexOf(worker), spare.includes(worker) ? 1 : 0))
    spare.push(worker)
  }
}

/** Of so many workers, how many there can be: those that have been started, and those that have room. */
export const workersWithin = (wanted: number): number =>
  spare.length >= wanted ? wanted : spare.length + threadsWithinAddresses(wanted - spare.length)

/** A worker that waits for its setup. */
export function takeWorker(): Worker {
  const worker = spare.pop()
  worker?.ref()
  return worker ?? startWorker()
}
