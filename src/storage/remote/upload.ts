/**
 * Outputs that are not on this machine. Files are uploaded one by one and stay invisible; `publish` makes all of them visible
 * together. What an upload leaves is a receipt: a later run, or another machine, can publish or remove it.
 */
import { createHash } from 'node:crypto'
import { type ExitCode, type Fault, fault } from '../../core/diagnostics.js'
import { quote } from '../../core/suggest.js'

/** A finished file of an output on this machine. */
export interface UploadFile {
  /** Relative to the output, with `/`. */
  readonly name: string
  readonly path: string
  readonly size: number
  /** 64 hexadecimal digits, if it is known. */
  readonly sha256?: string
  /** If it is a piece of the file at the path: where it begins. */
  readonly offset?: number
}

/** A part of an upload to an S3 store. */
export interface ReceivedPart {
  /** As the store answered, with quotation marks. */
  readonly etag: string
  /** Of the bytes that were sent, 32 hexadecimal digits. */
  readonly md5: string
}

/** What an upload leaves. Plain data without addresses and keys. */
export interface Receipt {
  readonly name: string
  readonly size: number
  /** 64 hexadecimal digits: of a file that the hub holds, or one that was hashed before the upload. */
  readonly sha256?: string
  /** Of what is in the file, if it is no longer on this machine. */
  readonly digests?: readonly string[]
  /** Of a file in an S3 store: an upload that is not completed, with its parts in order. Null: not uploaded yet. */
  readonly upload?: { readonly id: string; readonly partSize: number; readonly parts: readonly (ReceivedPart | null)[] }
}

/** What is left of a file that can be made again. */
export const withoutDigests = ({ digests: _, ...receipt }: Receipt): Receipt => receipt

/** Whether everything of the file is uploaded. */
export const isWhole = ({ upload, sha256 }: Receipt): boolean =>
  upload ? upload.parts.every((part) => part !== null) : sha256 !== undefined

export interface UploadOptions {
  readonly signal?: AbortSignal | undefined
  /** What an earlier run left of this file. Only what has the same bytes is used again. */
  readonly earlier?: Receipt | undefined
  /** Called with what would be left now, whenever that changes. */
  readonly note?: ((receipt: Receipt) => Promise<void>) | undefined
  /** Called with bytes that were sent. Negative, if they have to be sent again. */
  readonly progress?: ((bytes: number) => void) | undefined
}

/** A small file next to the weights. */
export interface SmallFile {
  readonly name: string
  readonly content: Uint8Array
}

/** What identifies a small file in any place. Plain data. */
export interface SmallMark {
  readonly name: string
  readonly size: number
  readonly md5: string
  readonly sha256: string
  /** Git's SHA-1. */
  readonly git: string
}

export function markOf({ name, content }: SmallFile): SmallMark {
  const hash = (kind: string, head = ''): string => createHash(kind).update(head).update(content).digest('hex')
  const git = hash('sha1', `blob ${content.length}\0`)
  return { name, size: content.length, md5: hash('md5'), sha256: hash('sha256'), git }
}

/** What an earlier run of the same output left. */
export interface Earlier {
  readonly receipts: readonly Receipt[]
  /** Whether it had begun to publish, so that some of the files can be visible already. */
  readonly publishing: boolean
  /** Whether other machines upload as well, so that uploads with other receipts are not left over. */
  readonly inParts?: boolean
}

/** A place for one output. */
export interface Destination {
  /** As written, for messages. */
  readonly reference: string
  /**
   * Checks the access and what is there, before anything is read. Errors: `output-exists` without force if a file of a model is
   * there, those of requests.
   */
  begin(earlier: Earlier, signal?: AbortSignal): Promise<void>
  /** Uploads a file. It stays invisible. */
  upload(file: UploadFile, options?: UploadOptions): Promise<Receipt>
  /** Whether what a receipt speaks of is still there. */
  holds(receipt: Receipt, signal?: AbortSignal): Promise<boolean>
  /** Whether exactly this output is visible. */
  has(receipts: readonly Receipt[], small: readonly SmallMark[], signal?: AbortSignal): Promise<boolean>
  /** Makes all files visible. Can be repeated after a failure. Files of the model that was there and is replaced are removed. */
  publish(receipts: readonly Receipt[], small: readonly SmallFile[], signal?: AbortSignal): Promise<Published>
  /** Removes its small files that are visible. */
  remove(signal?: AbortSignal): Promise<void>
  /** Removes what was uploaded and is not published. Never throws. */
  abort(receipts: readonly Receipt[]): Promise<void>
}

export interface Published {
  /** The commit on the hub. */
  readonly revision?: string
}

/** What a place has to know of an output. */
export interface UploadPlan {
  /** Names of its files with tensors. */
  readonly files: readonly string[]
  /** Names of its small files, with that of its lineage. */
  readonly small: readonly string[]
  readonly lineage: string
  /** Whether a model that is there is replaced. */
  readonly force: boolean
  /** Whether a file belongs to a model, so that it must not stay beside another one. */
  readonly belongs: (name: string) => boolean
}

const SHOWN = 3

/** The error for a model that is there. */
export function existsAlready(reference: string, names: readonly string[], exit: ExitCode): Fault {
  const more = names.length > SHOWN ? ` and ${names.length - SHOWN} more` : ''
  const shown = `${names.slice(0, SHOWN).map(quote).join(', ')}${more}`
  return fault('output-exists', `${reference}: has ${shown} already`, 'use --force to replace the model', exit)
}

/** The error for something that was uploaded and is no longer there. */
export const uploadLost = (reference: string, name: string): Fault =>
  fault(
    'upload-lost',
    `${reference}: the upload of ${name} is no longer there`,
    'run again with --resume; check that no rule and no other program removes unfinished uploads',
    1,
  )
