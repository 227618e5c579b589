import { spawn } from 'node:child_process'
import { fault } from '../../core/diagnostics.js'

/** Runs the engine's own program, whose output the user sees. Error: `not-submitted`. */
export const handOver = ([program, ...words]: readonly string[]): Promise<void> =>
  new Promise((resolve, reject) => {
    const child = spawn(program!, words, { stdio: ['ignore', 'inherit', 'inherit'] })
    const failed = (why: string) =>
      reject(fault('not-submitted', `${program} ${why}`, 'submit the file by hand, or correct what it reports', 1))
    child.on('error', (error) => failed(`cannot be started: ${error.message}`))
    child.on('exit', (code, signal) => (code === 0 ? resolve() : failed(`ended with ${code ?? signal}`)))
  })
