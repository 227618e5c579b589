/** Models elsewhere. Files in the cache are used directly; other files are downloaded into it. */
import type { ExitCode, Fault } from '../../core/diagnostics.js'

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

/** What is asked for in one attempt. */
export interface Ask {
  /** First byte and maximum length; without a length, to the end. */
  readonly range?: { readonly start: number; readonly length?: number }
  readonly signal?: AbortSignal | undefined
}

/** Headers by name, in any case. Not the type of the platform: programs that use terge's types need not have it. */
export interface AnswerHeaders {
  get(name: string): string | null
}

/** An answer with the status 200 or 206. */
export interface Answer {
  readonly status: number
  readonly headers: AnswerHeaders
  /** The body in pieces. Throws a `RequestError` if the connection is cut or stalls. */
  chunks(): AsyncGenerator<Uint8Array, void>
  /** Cancels the rest of the body. */
  close(): void
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
  /** What identifies the content that the download checks. Absent if it checks only the length. */
  readonly identity?: string
  /** The header that was read for the plan. The downloaded file must start with it. */
  readonly headerBytes: number
  readonly headerDigest: string
}
