/** What is sent: bytes, or a part of a local file. Files are streamed, so that uploads need no memory. */
import { createHash, type Hash } from 'node:crypto'
import { type FileHandle, open } from 'node:fs/promises'

/** A part of an open file. */
export interface Slice {
  readonly handle: FileHandle
  readonly start: number
  readonly length: number
  /** Called with the bytes that leave this machine. */
  readonly sent?: (bytes: number) => void
}

export type Body = Uint8Array | Slice

/** In bytes. Each one is new, because `fetch` keeps it. */
const PIECE = 2 ** 16
/** Bytes per read when a part is hashed. */
const BUFFER = 2 ** 20

/** The options of `fetch` for a body. Sets its length in the headers. `alive` is called whenever a piece is taken. */
export function bodyInit(body: Body | undefined, headers: Headers, alive: () => void): RequestInit {
  if (body === undefined) return {}
  if (body instanceof Uint8Array) return { body: body as Uint8Array<ArrayBuffer> }
  // Otherwise it would be sent in chunks, which stores refuse.
  headers.set('content-length', String(body.length))
  return { body: streamOf(body, alive), duplex: 'half' } as RequestInit
}

function streamOf({ handle, start, length, sent }: Slice, alive: () => void): ReadableStream<Uint8Array> {
  let at = 0
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      if (at === length) return controller.close()
      const piece = await readAt(handle, start + at, Math.min(PIECE, length - at))
      at += piece.length
      alive()
      sent?.(piece.length)
      controller.enqueue(piece)
    },
  })
}

async function readAt(handle: FileHandle, offset: number, length: number): Promise<Uint8Array> {
  const { bytesRead, buffer } = await handle.read(new Uint8Array(length), 0, length, offset)
  if (bytesRead === 0) throw new Error('internal: a staged file became shorter while it was uploaded')
  return buffer.subarray(0, bytesRead)
}

/** Adds a part of a file to a digest. */
async function hashInto(hash: Hash, { handle, start, length }: Slice, signal: AbortSignal | undefined): Promise<Hash> {
  for (let at = 0; at < length; ) {
    signal?.throwIfAborted()
    const piece = await readAt(handle, start + at, Math.min(BUFFER, length - at))
    hash.update(piece)
    at += piece.length
  }
  return hash
}

/** The MD5 of a part of a file. */
export const md5Of = (slice: Slice, signal?: AbortSignal): Promise<Buffer> =>
  hashInto(createHash('md5'), slice, signal).then((hash) => hash.digest())

/** The SHA-256 of a file, or of a piece of it, 64 hexadecimal digits. */
export const sha256Of = (file: string, size: number, signal?: AbortSignal, start = 0): Promise<string> =>
  withFile(file, async (handle) =>
    (await hashInto(createHash('sha256'), { handle, start, length: size }, signal)).digest('hex'),
  )

/** Opens a file that was staged for an upload. */
export async function withFile<T>(file: string, work: (handle: FileHandle) => Promise<T>): Promise<T> {
  const handle = await open(file, 'r')
  try {
    return await work(handle)
  } finally {
    await handle.close()
  }
}
