/** What the tests of this room share. */

import { Buffer } from 'node:buffer'
import * as assert from 'uvu/assert'
import { fullAllowance } from '../../src/checkpoints/containers/allowance.js'
import { OUTPUT } from '../../src/checkpoints/containers/index.js'
import { pytorch } from '../../src/checkpoints/containers/pytorch/index.js'
import type { ContainerHeader } from '../../src/checkpoints/containers/types.js'
import { layoutCheckpoint } from '../../src/checkpoints/layout.js'
import type { OutputLayout } from '../../src/checkpoints/types.js'
import { Fault } from '../../src/core/diagnostics.js'
import type { StagedFile } from '../../src/storage/local/staging.js'
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

/** A layout whose files have their headers as bytes. */
export function layOut(
  ...given: Parameters<typeof layoutCheckpoint>
): Omit<OutputLayout, 'files'> & { readonly files: readonly StagedFile[] } {
  const layout = layoutCheckpoint(...given)
  return { ...layout, files: layout.files.map((file) => ({ ...file, header: OUTPUT.write.encode(file.header) })) }
}

/** The header of a PyTorch file. */
export const readPytorchHeader = (source: ByteSource): Promise<ContainerHeader> =>
  pytorch.open(source, fullAllowance(), source.name)

/** Asserts that a PyTorch file is refused with this code, a message that contains `says`, and a hint. */
export async function refusesPytorch(bytes: Uint8Array, code: string, says = ''): Promise<void> {
  const { code: found, message, hint } = await asyncFaultOf(() => readPytorchHeader(memorySource(bytes, 'm.pt')))
  assert.is(found, code, message)
  assert.ok(message.includes(says), `${message} — should say: ${says}`)
  assert.ok(hint, 'a hint')
}
