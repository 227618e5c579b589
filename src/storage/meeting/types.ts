/**
 * Where the processes of a run in parts meet, on any machine: small texts by name. There is no lock: each change is one that any number
 * of processes can make at the same time, and nobody sees half of a text.
 */
import type { FileContent } from '../local/workFolder.js'
import type { Receipt, UploadFile, UploadOptions } from '../remote/upload.js'

export interface MeetingPlace {
  /** As the user knows it, for messages. */
  readonly reference: string
  /** The folder, if all machines share a file system. */
  readonly folder?: string
  /** For places without a shared file system: whole files of outputs. */
  readonly shelf?: Shelf
  /** Milliseconds between changes of a mark, how long it must be unchanged, and between looks. */
  readonly pace: { readonly beat: number; readonly patience: number; readonly pause: number }
  /** Makes the place if it is missing. Error: `foreign-work-folder` for a place that others use. */
  open(): Promise<void>
  /** Whether something of terge is there. Error: `foreign-work-folder` if there is something else. */
  isThere(): Promise<boolean>
  /** The names of all texts. */
  names(): Promise<string[]>
  /** Undefined if there is none, or one with more bytes. */
  read(name: string, most: number): Promise<string | undefined>
  /** Writes a text, or replaces it, at once. */
  write(name: string, content: FileContent, sync?: boolean): Promise<void>
  /** Writes a text unless there is one. */
  create(name: string, text: string): Promise<void>
  /** Replaces a text, unless somebody has removed it. */
  refresh(name: string, text: string): Promise<void>
  remove(name: string): Promise<void>
  /** Removes everything but these texts. Nobody works here any more. */
  clear(isKept: (name: string) => boolean): Promise<void>
}

/** Files that parts leave for the end of the run. */
export interface Shelf {
  /** Stores a file. It appears whole. */
  upload(file: UploadFile, options?: UploadOptions): Promise<Receipt>
  /** Whether a file with this name and size is there. */
  holds(receipt: Receipt): Promise<boolean>
  /** Copies a file to this machine. Checks its SHA-256. */
  fetch(receipt: Receipt, target: string, options: FetchOptions): Promise<void>
}

export interface FetchOptions {
  readonly sync: boolean
  readonly signal?: AbortSignal | undefined
  /** Called with the bytes that are there. */
  readonly progress?: (bytes: number) => void
}

/** The names of texts that terge writes. */
export const TEXT = /^[a-z0-9][a-z0-9.-]*\.(record|bound|journal(\.new)?|sent|running)$/
