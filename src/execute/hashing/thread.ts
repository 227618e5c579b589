/** A thread that hashes whole files, one after another. */
import { createHash } from 'node:crypto'
import { readSync } from 'node:fs'
import { parentPort } from 'node:worker_threads'
import type { HashAnswer, HashTask } from './hasher.js'

const port = parentPort
if (!port) throw new Error('internal: the thread was not started as a thread')

/** Bytes that are read at once. */
const PIECE = 2 ** 20
const buffer = new Uint8Array(PIECE)

function answer({ fd, state }: HashTask): HashAnswer {
  const hash = createHash('sha256')
  let bytes = 0
  try {
    for (;;) {
      // The first number is not 0 if the task is to stop; the second one counts pieces.
      if (Atomics.load(state, 0) !== 0) return { stopped: true }
      const read = readSync(fd, buffer, 0, PIECE, bytes)
      if (read === 0) return { sum: hash.digest('hex'), bytes }
      hash.update(buffer.subarray(0, read))
      bytes += read
      Atomics.store(state, 1, Math.floor(bytes / PIECE))
    }
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    return { failure: code ?? message }
  }
}

port.on('message', (task: HashTask) => port.postMessage(answer(task)))
