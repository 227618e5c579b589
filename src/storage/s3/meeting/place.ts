/**
 * A place in an S3 store where parts meet: one small object for each text. A store shows an object whole or not at all, and the last
 * writer wins. Nothing depends on conditional requests, which not every store has.
 */
import { fault } from '../../../core/diagnostics.js'
import { quote } from '../../../core/suggest.js'
import type { FileContent } from '../../local/workFolder.js'
import { type MeetingPlace, TEXT } from '../../meeting/types.js'
import { bodyOf, patiently, RequestError, TooLong } from '../../remote/request.js'
import { type S3Subject, s3Fault } from '../faults.js'
import { listObjects } from '../list.js'
import { s3Request } from '../request.js'
import { type S3Settings, s3Settings } from '../settings.js'
import { abortUpload, deleteObject, listUploads, putObject, type S3Target } from '../upload/multipart.js'
import { s3Shelf } from './shelf.js'

/** Milliseconds. Every change is a request that costs money. */
const PACE = { beat: 10_000, patience: 40_000, pause: 3000 }

/** The objects of files, below the prefix. */
const FILES = 'outputs.terge/'

export interface S3MeetingOptions {
  readonly settings: S3Settings
  readonly reference: string
  readonly bucket: string
  /** Ends with a slash. */
  readonly prefix: string
  /** For tests. */
  readonly pace?: MeetingPlace['pace']
}

/** Errors: those of the settings, such as `bad-environment` and `s3-credentials`. */
export const openS3Meeting = async (place: Omit<S3MeetingOptions, 'settings'>): Promise<MeetingPlace> =>
  s3Meeting({ ...place, settings: await s3Settings() })

export function s3Meeting({ settings, reference, bucket, prefix, pace = PACE }: S3MeetingOptions): MeetingPlace {
  const subject: S3Subject = { reference, bucket, writes: true }
  const target = (name: string): S3Target => ({ settings, bucket, key: `${prefix}${name}` })
  const list = () => listObjects(settings, { ...subject, exit: 2 }, prefix)

  async function explained<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      throw s3Fault(error, settings, { ...subject, exit: 1 })
    }
  }

  /** Other objects directly below the prefix mean that it is used for something else. */
  async function ownNames(): Promise<string[]> {
    const names = (await list()).map(({ name }) => name)
    const other = names.find((name) => !TEXT.test(name))
    if (other === undefined) return names
    throw fault(
      'foreign-work-folder',
      `${reference}: it holds ${quote(other)}, which terge does not write, so terge neither uses nor removes this work place`,
      'choose a prefix that nothing else uses with --work, then run again',
    )
  }

  const read = (name: string, most: number): Promise<string | undefined> =>
    explained(async () => {
      try {
        const { key } = target(name)
        const body = await patiently(async () => bodyOf(await s3Request(settings, { bucket, key }), most))
        return body.toString('utf8')
      } catch (error) {
        if (!(error instanceof RequestError)) throw error
        if (error instanceof TooLong || (error.status === 404 && error.code !== 'NoSuchBucket')) return undefined
        throw error
      }
    })
  const write = (name: string, content: FileContent): Promise<void> =>
    explained(() => putObject(target(name), bytesOf(content)))

  return {
    ...{ reference, pace, read, write },
    shelf: s3Shelf({ settings, reference, bucket, prefix: `${prefix}${FILES}` }),
    async open() {
      await ownNames()
    },
    isThere: async () => (await ownNames()).length > 0,
    names: async () => (await list()).flatMap(({ name }) => (TEXT.test(name) ? [name] : [])),
    async create(name, text) {
      if ((await read(name, MOST_LINE)) === undefined) await write(name, text)
    },
    async refresh(name, text) {
      if ((await read(name, MOST_LINE)) !== undefined) await write(name, text)
    },
    remove: (name) => explained(() => deleteObject(target(name))),
    clear: (isKept) =>
      explained(async () => {
        for (const name of await ownNames()) if (!isKept(name)) await deleteObject(target(name))
        for (const { name } of await listObjects(settings, subject, `${prefix}${FILES}`, { deep: true }))
          await deleteObject(target(`${FILES}${name}`))
        await dropUploads(target(FILES))
      }),
  }
}

const MOST_LINE = 10_000

/** Removes what killed processes have begun to store. */
async function dropUploads(target: S3Target): Promise<void> {
  try {
    for (const { key, id } of await listUploads(target))
      if (key.startsWith(target.key)) await abortUpload({ ...target, key }, id)
  } catch (error) {
    // Not every store or key can list them.
    if (!(error instanceof RequestError)) throw error
  }
}

const bytesOf = (content: FileContent): Uint8Array =>
  content instanceof Uint8Array ? content : Buffer.from(typeof content === 'string' ? content : [...content].join(''))
