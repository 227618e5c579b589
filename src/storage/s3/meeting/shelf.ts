/** Whole files of outputs in an S3 store, which parts leave for the end of the run. */
import { createHash } from 'node:crypto'
import path from 'node:path'
import { type ExitCode, fault } from '../../../core/diagnostics.js'
import type { Shelf } from '../../meeting/types.js'
import { sha256Of, withFile } from '../../remote/bodies.js'
import { RequestError } from '../../remote/request.js'
import { fetchContent } from '../../remote/transfer.js'
import { isWhole, type Receipt, type ReceivedPart } from '../../remote/upload.js'
import { type S3Subject, s3Fault } from '../faults.js'
import { findObject } from '../list.js'
import { sha256Check } from '../published.js'
import { s3Request } from '../request.js'
import type { S3Settings } from '../settings.js'
import { completeUpload, putObject, type S3Target } from '../upload/multipart.js'
import { sendFile } from '../upload/sendFile.js'

/** Bytes that are stored by one request. */
const SMALL = 8 * 2 ** 20

export interface S3ShelfOptions {
  readonly settings: S3Settings
  readonly reference: string
  readonly bucket: string
  /** Ends with a slash. */
  readonly prefix: string
}

export function s3Shelf({ settings, reference, bucket, prefix }: S3ShelfOptions): Shelf {
  const subject: S3Subject = { reference, bucket, exit: 1, writes: true }
  const target = (name: string, signal?: AbortSignal): S3Target => ({
    ...{ settings, bucket, key: `${prefix}${name}`, signal },
  })
  const explained = async <T>(entry: string, work: () => Promise<T>): Promise<T> => {
    try {
      return await work()
    } catch (error) {
      throw s3Fault(error, settings, { ...subject, entry })
    }
  }
  const holds = async ({ name, size }: Receipt, signal?: AbortSignal): Promise<boolean> =>
    (await findObject(settings, subject, target(name).key, signal))?.size === size

  return {
    holds,
    upload: (file, options = {}) =>
      explained(file.name, async () => {
        const { name, size, offset = 0 } = file
        const to = target(name, options.signal)
        if (size <= SMALL) {
          const bytes = await withFile(file.path, (handle) => handle.read(new Uint8Array(size), 0, size, offset))
          if (bytes.bytesRead !== size) throw new Error('internal: a file is shorter than its plan')
          await putObject(to, bytes.buffer)
          options.progress?.(size)
          return { name, size, sha256: createHash('sha256').update(bytes.buffer).digest('hex') }
        }
        const sha256 = await sha256Of(file.path, size, options.signal, offset)
        // What a killed process sent of a file is sent again: nobody knows its upload.
        const { signal, progress } = options
        const sent = await withFile(file.path, (handle) => sendFile(to, file, handle, { signal, progress }, undefined))
        if (!isWhole(sent)) throw new Error('internal: a file that was sent is not whole')
        try {
          await completeUpload(to, sent.upload!.id, sent.upload!.parts as readonly ReceivedPart[])
        } catch (error) {
          // The answer of an earlier attempt may have been lost.
          const lost = error instanceof RequestError && (error.code === 'NoSuchUpload' || error.status === 404)
          if (!lost || !(await holds({ name, size }, signal))) throw error
        }
        return { name, size, sha256 }
      }),
    fetch: ({ name, size, sha256 }, file, { sync, signal, progress }) =>
      fetchContent(
        {
          ...{ reference, path: name, size, target: file, place: file, lock: `${file}.lock` },
          cache: { folder: path.dirname(file), variable: '--output' },
          get: ({ range, signal: stop }) =>
            s3Request(settings, { bucket, key: target(name).key, signal: stop, ...(range ? { range } : {}) }),
          checks: async () => sha256Check(sha256 ?? ''),
          explain: (error, exit) => s3Fault(error, settings, { ...subject, exit, entry: name }),
          wrong: (exit) => damaged(reference, name, exit),
          changed: (exit) => damaged(reference, name, exit),
        },
        { exit: 1, sync, signal, ...(progress ? { progress } : {}) },
      ),
  }
}

const damaged = (reference: string, name: string, exit: ExitCode) =>
  fault(
    's3-digest',
    `${reference}: ${name} was downloaded twice, both times with another SHA-256 than when it was stored`,
    'run the part again that made it',
    exit,
  )
