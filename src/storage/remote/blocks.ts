/** A file elsewhere, downloaded by ranges on demand. Used for headers, not for tensor data. */
import { Buffer } from 'node:buffer'
import type { ByteSource } from '../types.js'
import { patiently, RequestError } from './request.js'
import type { Answer, AnswerHeaders, Ask } from './types.js'

/** Bytes that are downloaded together and kept. Finding one storage in a PyTorch file takes one block. */
const BLOCK = 2 ** 16
/** Blocks of the first request: enough for most safetensors headers. */
const FIRST_BLOCKS = 4
/** Maximum bytes that are skipped if a server does not support ranges. */
const MAX_SKIP = 16 * 2 ** 20

export interface RemoteSource extends ByteSource {
  /** Downloads the first blocks. */
  begin(): Promise<void>
}

/** One attempt to get a range of a file. */
export type RangeGet = (range: NonNullable<Ask['range']>) => Promise<Answer>

export interface RangedFile {
  /** For messages. */
  readonly name: string
  readonly size: number
  readonly get: RangeGet
  /** Makes the error for the user. */
  readonly explain: (error: unknown) => unknown
  readonly signal?: AbortSignal | undefined
}

export function blockSource({ name, size, get, explain, signal }: RangedFile): RemoteSource {
  const blocks = new Map<number, Promise<Uint8Array>>()

  async function fetchRange(start: number, length: number): Promise<Uint8Array> {
    try {
      return await patiently(() => readRange(get, { start, length }, size), { signal })
    } catch (error) {
      throw explain(error)
    }
  }

  /** Requests each run of missing blocks at once. */
  function want(first: number, last: number): void {
    for (let block = first; block <= last; ) {
      if (blocks.has(block)) {
        block++
        continue
      }
      let end = block
      while (end < last && !blocks.has(end + 1)) end++
      const start = block
      const bytes = fetchRange(start * BLOCK, Math.min((end + 1) * BLOCK, size) - start * BLOCK)
      for (; block <= end; block++) {
        const from = (block - start) * BLOCK
        const part = bytes.then((all) => all.subarray(from, from + BLOCK))
        // Readers of the block get the error. If there are none, it must not count as unhandled.
        part.catch(() => {})
        blocks.set(block, part)
      }
    }
  }

  async function read(offset: number, length: number): Promise<Uint8Array> {
    if (offset < 0 || length < 0 || offset + length > size)
      throw new Error(`internal: ${length} bytes at ${offset} of ${size}`)
    if (length === 0) return new Uint8Array(0)
    const [first, last] = [Math.floor(offset / BLOCK), Math.floor((offset + length - 1) / BLOCK)]
    want(first, last)
    const parts: Uint8Array[] = []
    for (let block = first; block <= last; block++) parts.push(await blocks.get(block)!)
    const all = parts.length === 1 ? parts[0]! : Buffer.concat(parts)
    return all.subarray(offset - first * BLOCK, offset - first * BLOCK + length)
  }

  return {
    name,
    size,
    read,
    begin: async () => void (await read(0, Math.min(size, FIRST_BLOCKS * BLOCK))),
  }
}

/** The range of an answer: its first byte, and the file size. */
export function rangeOf(headers: AnswerHeaders): { readonly start: number; readonly size: number } | undefined {
  const [, start, , size] = /^bytes (\d{1,16})-(\d{1,16})\/(\d{1,16})$/.exec(headers.get('content-range') ?? '') ?? []
  return start === undefined ? undefined : { start: Number(start), size: Number(size) }
}

/** Reads a range of a file of `size` bytes in one attempt. */
async function readRange(
  get: RangeGet,
  { start, length }: { readonly start: number; readonly length: number },
  size: number,
): Promise<Uint8Array> {
  const answer = await get({ start, length })
  const range = answer.status === 206 ? rangeOf(answer.headers) : { start: 0, size }
  if (
    range?.start !== (answer.status === 206 ? start : 0) ||
    range.size !== size ||
    (answer.status === 200 && start > MAX_SKIP)
  ) {
    answer.close()
    throw new RequestError('the answer has a different range than requested')
  }
  const bytes = new Uint8Array(length)
  let at = range.start
  for await (const piece of answer.chunks()) {
    const from = Math.max(0, start - at)
    const part = piece.subarray(from, Math.max(from, start + length - at))
    if (part.length > 0) bytes.set(part, at + from - start)
    at += piece.length
    if (at >= start + length) return bytes
  }
  throw new RequestError('the connection was cut', undefined, undefined, true)
}
