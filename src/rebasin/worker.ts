import { parentPort } from 'node:worker_threads'
import { createLinalg } from '../kernels/linalg.js'
import { type Job, workTiles } from './pool.js'

const linalg = createLinalg()
parentPort?.on('message', (job: Job) => {
  if (job.kind === 'product') {
    workTiles(linalg, job.product, job.next)
    parentPort?.postMessage(true)
  } else parentPort?.postMessage(linalg.assign(job.scores, job.size, job.warm))
})
