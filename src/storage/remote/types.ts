/** Models elsewhere. Files in the cache are used directly; other files are downloaded into it. */
import type { ExitCode, Fault } from '../../core/diagnostics.js'
import type { Answer, Ask } from './request.js'

/** The folder that downloads go into. */
export interface Cache {
  readonly folder: string
  /** The environment variable that chooses it, for hints. */
  readonly variable: string
}

/** A file that is elsewhere. */
export interface RemoteFile {
  readonly size: number
  /** The published digest of its content, 64 hexadecimal digits. */
  readonly sha256?: string
}

/** The digest of a content so far, and what is expected of it. */
export interface Check {
  update(bytes: Uint8Array): void
  /** Whether the whole content was right. Called once. */
  matches(): boolean
}

/** A file elsewhere, and where its content goes. */
export interface Content {
  /** The model as written, for messages. */
  readonly reference: string
  /** The file, for messages. */
  readonly path: string
  readonly size: number
  readonly cache: Cache
  /** The file of the cache with the content. Its name depends on the content. */
  readonly target: string
  /** The folder with the lock of the download. */
  readonly lock: string
  /** The file in the model's folder of the cache. */
  readonly place: string
  /** One attempt to get the file, or a range of it. */
  get(ask: Ask): Promise<Answer>
  /** Finds out what the content is checked with. Each call of the result starts a check. */
  checks(signal?: AbortSignal): Promise<() => Check>
  /** Turns an error of `get` or `checks` into an error for the user; returns other errors unchanged. */
  explain(error: unknown, exit: ExitCode, reference?: string): unknown
  /** The error for content that was wrong twice. */
  wrong(exit: ExitCode): Fault
  /** The error for content that does not start with the header of the plan. */
  changed(exit: ExitCode): Fault
}

/** A file that still has to be downloaded into the cache. */
export interface Fetch {
  readonly file: RemoteFile
  readonly content: Content
  /** Its path in the cache. */
  readonly place: string
  /** The header that was read for the plan. The downloaded file must start with it. */
  readonly headerBytes: number
  readonly headerDigest: string
}
