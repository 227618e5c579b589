/** Pools in which tasks are done otherwise than on threads: on the calling thread, in another order, late, or only until a run ends. */
import { shareFiles } from '../../src/core/resources.js'
import { fileWriter } from '../../src/execute/files.js'
import { inlinePool } from '../../src/execute/pools/inline.js'
import type { OpenPool } from '../../src/execute/pools/types.js'
import type { TaskResult, Work } from '../../src/execute/program.js'
import { openRunner, taskBytes } from '../../src/execute/worker/runner.js'
import { compileKernels } from '../../src/kernels/index.js'
import { TILE } from '../../src/kernels/types.js'
import { KEPT } from '../../src/views/transposed.js'

/** A pool on the calling thread, which does every task where it is asked for. */
export const openInline: OpenPool = async (setup) => {
  const { files } = shareFiles(1)
  const sizes = { ...setup, kept: KEPT }
  const runner = openRunner({ ...sizes, module: await compileKernels(), openFiles: files })
  const writer = fileWriter(runner.bytes, setup.outputs, files)
  return inlinePool(runner, writer.write, taskBytes(sizes), {
    release({ inputs, outputs }) {
      runner.release(inputs)
      writer.release(outputs)
    },
    close() {
      runner.close()
      writer.close()
    },
  })
}

/** Tasks wait, are done in another order than they came, and their results come late and in another order again. */
export function openShuffling(random: () => number): OpenPool {
  return async (setup) => {
    const pool = await openInline(setup)
    const waiting: { work: Work; resolve: (result: TaskResult) => void; reject: (error: unknown) => void }[] = []
    const doOne = async (): Promise<void> => {
      const [{ work, resolve, reject }] = waiting.splice(Math.floor(random() * waiting.length), 1) as [
        (typeof waiting)[0],
      ]
      const result = pool.run(work)
      setTimeout(() => result.then(resolve, reject), 3 * random())
    }
    return {
      ...pool,
      capacity: 7,
      // As short as can be: a tile a task.
      taskBytes: TILE,
      run: (work) =>
        new Promise((resolve, reject) => {
          waiting.push({ work, resolve, reject })
          setTimeout(doOne, 2 * random())
        }),
    }
  }
}

/** Calls back when so many tasks have been begun, and does all of them. */
export function openCounting(at: number, reached: () => void): OpenPool {
  let begun = 0
  return async (setup) => {
    const pool = await openInline(setup)
    const count = () => ++begun === at && reached()
    return {
      ...pool,
      // As short as can be: a tile a task.
      taskBytes: 1,
      run(work) {
        count()
        return pool.run(work)
      },
      together(work) {
        count()
        return pool.together(work)
      },
    }
  }
}

/** The tiles that a pool does of output tensors, by kind of pass. */
export interface Tiles {
  readonly done: Readonly<Record<string, number>>
  readonly openPool: OpenPool
}

/** A pool that does one tile per task, counts, and calls back before the task with this number. */
export function countingTiles(at = 0, reached: () => void = () => {}): Tiles {
  const done: Record<string, number> = { write: 0, reduce: 0 }
  let begun = 0
  return {
    done,
    async openPool(setup) {
      const pool = await openInline(setup)
      return {
        ...pool,
        taskBytes: 1,
        async run(work) {
          const { kind } = work.program.passes[work.pass]!
          if (kind !== 'digest') {
            if (++begun === at) reached()
            done[kind] = (done[kind] ?? 0) + work.tiles
          }
          return pool.run(work)
        },
      }
    },
  }
}
