import { parentPort, workerData } from 'node:worker_threads'
import { aligned, WebAssembly } from '../../core/webassembly.js'
import { polarFactor } from '../../kernels/dense/polar.js'
import { joinTeam, TEAM_BYTES } from '../../kernels/dense/team.js'
import { assignInPlace, createLinalg } from '../../kernels/linalg.js'
import { pursuer } from '../../kernels/pursuit/index.js'
import { readAt, writeAt } from '../../storage/nameless.js'
import { doPursuit, type Job } from './jobWorkers.js'
import { workTiles } from './team.js'

const linalg = createLinalg()
const pursuits = pursuer({ readAt, writeAt })
const solve = assignInPlace(workerData as WebAssembly.Memory)

function work(job: Job): unknown {
  switch (job.kind) {
    case 'product':
      return workTiles(linalg, job.product, job.next)
    case 'assign':
      return linalg.assign(job.scores, job.size, job.warm)
    case 'solve':
      return solve(job)
    case 'pursuit':
    case 'rows':
    case 'cosines':
    case 'sums':
      return doPursuit(pursuits, job)
    case 'polar': {
      const { team, thread, size } = job
      const instance = new WebAssembly.Instance(team.module, { env: { memory: team.memory } })
      const bytes = 8 * size * size
      return polarFactor(joinTeam(instance, team, thread, TEAM_BYTES + aligned(bytes)), TEAM_BYTES, size)
    }
  }
}

parentPort?.on('message', (job: Job) => parentPort?.postMessage(work(job)))
