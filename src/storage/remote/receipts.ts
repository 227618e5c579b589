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

function isReceipt(value: Partial<Receipt> | null): value is Receipt {
  if (typeof value?.name !== 'string' || !isCount(value.size)) return false
  const { sha256, digests = [], upload } = value
  if (!Array.isArray(digests) || digests.some((digest) => typeof digest !== 'string')) return false
  if (sha256 !== undefined && !/^[0-9a-f]{64}$/.test(sha256)) return false
  if (upload === undefined) return true
  const { id, partSize, parts } = upload
  return typeof id === 'string' && isCount(partSize) && Array.isArray(parts) && parts.every(isPart)
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0

const isPart = (part: Partial<ReceivedPart> | null): boolean =>
  part === null || (typeof part?.etag === 'string' && /^[0-9a-f]{32}$/.test(part.md5 ?? ''))
