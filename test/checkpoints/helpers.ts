/** What the tests of this room share. */

import { Buffer } from 'node:buffer'
import { Fault } from '../../src/core/diagnostics.js'
import type { ByteSource } from '../../src/storage/types.js'

/** A file's beginning: this header text, under a length of its own or another. */
export function header(text: string | Uint8Array, length?: number): Uint8Array {
  const body = Buffer.from(text)
  const bytes = Buffer.alloc(8 + body.length)
  bytes.writeBigUInt64LE(BigInt(length ?? body.length))
  bytes.set(body, 8)
  return bytes
}

export const entry = (shape: readonly number[], begin: number, end: number, dtype = 'F32'): string =>
  `{"dtype":"${dtype}","shape":[${shape}],"data_offsets":[${begin},${end}]}`

export interface Found {
  readonly code: string
  readonly message: string
  readonly hint: string | undefined
  readonly exit: number
}

function found(error: unknown): Found {
  if (!(error instanceof Fault)) throw error
  const { code, message, hint } = error.diagnostics[0]!
  return { code, message, hint, exit: error.exit }
}

/** The fault that this ends in; any other end fails the test. */
export function faultOf(work: () => unknown): Found {
  try {
    work()
  } catch (error) {
    return found(error)
  }
  throw new Error('no fault')
}

export async function asyncFaultOf(work: () => Promise<unknown>): Promise<Found> {
  try {
    await work()
  } catch (error) {
    return found(error)
  }
  throw new Error('no fault')
}

/** Seeded numbers from 0 to 2²⁴ − 1 (a linear congruential generator, Numerical Recipes' constants). */
export function* random(seed: number): Generator<number, never> {
  let state = seed
  for (;;) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    yield state >>> 8
  }
}

/** A file's bytes from memory. */
export const memorySource = (bytes: Uint8Array, name: string): ByteSource => ({
  name,
  size: bytes.byteLength,
  read: async (offset, length) => {
    if (offset < 0 || length < 0 || offset + length > bytes.byteLength)
      throw new Error(`internal: read of ${length} bytes at ${offset} of ${bytes.byteLength}`)
    return bytes.subarray(offset, offset + length)
  },
})
