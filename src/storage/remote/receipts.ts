/** The record of an output's uploads in its work folder, so that a later run can continue or remove them. */
import { move } from '../../core/system/disk.js'
import { readOwn, writeNew } from '../local/workFolder.js'
import type { Earlier, Receipt, ReceivedPart } from './upload.js'

/** In bytes. A model of 10 TB has about 20 MB. */
const MOST_BYTES = 256 * 2 ** 20

const NOTHING: Earlier = { receipts: [], publishing: false }

/** Reads a record; nothing if there is none, or if it is not one that terge writes. */
export async function readReceipts(file: string): Promise<Earlier> {
  try {
    const found = JSON.parse((await readOwn(file, MOST_BYTES)) ?? '') as Partial<Earlier> & { uploads?: unknown }
    const receipts = Array.isArray(found.receipts) ? found.receipts.filter(isReceipt) : []
    return found.uploads === 1 ? { receipts, publishing: found.publishing === true } : NOTHING
  } catch {
    return NOTHING
  }
}

/** Replaces a record at once. */
export async function writeReceipts(file: string, { receipts, publishing }: Earlier): Promise<void> {
  await writeNew(`${file}.new`, `${JSON.stringify({ uploads: 1, publishing, receipts })}\n`)
  await move(`${file}.new`, file)
}

const MOST_PARTS = 10_000

/** Whether a value from a file is a receipt, of whatever file. */
export function isReceipt(value: unknown): value is Receipt {
  if (typeof value !== 'object' || value === null) return false
  const { name, size, sha256, digests = [], upload } = value as Partial<Record<keyof Receipt, unknown>>
  if (typeof name !== 'string' || !isCount(size)) return false
  if (!Array.isArray(digests) || digests.some((digest) => typeof digest !== 'string')) return false
  if (sha256 !== undefined && !isText(sha256, /^[0-9a-f]{64}$/)) return false
  if (upload === undefined) return true
  if (typeof upload !== 'object' || upload === null) return false
  const { id, partSize, parts } = upload as Partial<Record<keyof NonNullable<Receipt['upload']>, unknown>>
  const whole = isText(id, /^[\x21-\x7e]{1,2000}$/) && isCount(partSize) && partSize > 0
  // As many parts as the file needs: no more are sent for it.
  const count = whole ? Math.max(1, Math.ceil(size / partSize)) : 0
  return count <= MOST_PARTS && Array.isArray(parts) && parts.length === count && parts.every(isPart)
}

const isText = (value: unknown, form: RegExp): boolean => typeof value === 'string' && form.test(value)

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0

function isPart(part: unknown): boolean {
  if (part === null) return true
  if (typeof part !== 'object') return false
  const { etag, md5 } = part as Partial<Record<keyof ReceivedPart, unknown>>
  return isText(etag, /^[\x21-\x7e]{1,200}$/) && isText(md5, /^[0-9a-f]{32}$/)
}
