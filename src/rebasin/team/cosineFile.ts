/** Cosines in memory, or in a file that all threads have open. */
import { readSync, writeSync } from 'node:fs'
import { type Cosines, type OpenCosines, openMemory } from '../../kernels/pursuit/index.js'

export const openCosines: OpenCosines = (store, count) =>
  store.kind === 'memory' ? openMemory(store, count) : openFile(store.fd, count)

type Transfer = (bytes: Uint8Array, from: number, length: number, position: number) => number

function openFile(fd: number, count: number): Cosines {
  /** Reads or writes all of it. The system may do a part. */
  const whole = (array: Int16Array, number: number, once: Transfer): void => {
    const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength)
    for (let done = 0; done < bytes.length; ) {
      const some = once(bytes, done, bytes.length - done, 2 * number + done)
      if (some === 0) throw new Error('internal: the file of cosines is too short')
      done += some
    }
  }
  return {
    read: (row, into) => whole(into, row * count, (...transfer) => readSync(fd, ...transfer)),
    write: (row, column, from) => whole(from, row * count + column, (...transfer) => writeSync(fd, ...transfer)),
  }
}
