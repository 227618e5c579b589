/** The records of parts as text: what a part was, what it read and uploaded, the records of its units, and a checksum. */
import { sha256 } from '../../core/digest.js'
import { VERSION } from '../../core/version.js'
import type { DonePart } from '../../execute/parts/part.js'
import { parseRecord, recordLine } from '../../execute/units/records.js'
import { storedTensors } from '../../plan/stored.js'
import type { Plan } from '../../plan/types.js'
import { isReceipt } from '../../storage/remote/receipts.js'
import type { Receipt } from '../../storage/remote/upload.js'

/** A file of an output that is no longer on the machine that made it. */
export interface SentFile {
  readonly output: number
  /** Index into `PlanOutput.files`. */
  readonly file: number
  readonly receipt: Receipt
}

/** What the analyses found, or what a part did. */
export interface PartRecord extends DonePart {
  /** The digest of the plan that the recipe gives. */
  readonly plan: string
  /** `analyse`, or `3/16`. */
  readonly part: string
  /** Ranks that an analysis found, by step and tensor. */
  readonly ranks: readonly (readonly [step: string, tensor: string, rank: number])[]
  readonly sent: readonly SentFile[]
  /** `sha256:…` of the files that this part is the first to read, by `Plan.files`. */
  readonly sums: readonly (readonly [file: number, sum: string])[]
}

const FORMAT = 3

/** In pieces, for one iteration. The last line has the checksum of the rest. */
export function recordText({ plan, part, states, digests, ranks, records, sent, sums }: PartRecord): string {
  const head = {
    ...{ format: FORMAT, terge: VERSION, plan, part, ranks },
    states: states.map((state) => state ?? null),
    ...{ digests, sums, sent: sent.map(sentRow) },
  }
  return withSum([JSON.stringify(head), ...records.map(recordLine)])
}

/** What a record must belong to. */
export interface RecordOf {
  /** The digest of the plan that the recipe gives. */
  readonly digest: string
  /** The plan, with its ranks if these are known. */
  readonly plan: Plan
  readonly part: string
}

/** Undefined if the text is not a complete record of this part. Everything in it was written by somebody else. */
export function parsePartRecord(text: string, { digest, plan, part }: RecordOf): PartRecord | undefined {
  const { head, lines } = linesOf(text, digest) ?? {}
  if (!head || !lines || head.part !== part) return undefined
  const { states, digests, ranks, sums } = head
  const stored = storedTensors(plan).count
  const sent = sentFiles(plan, head.sent)
  const records = lines.map(parseRecord)
  if (!sent || !records.every((record) => record !== undefined)) return undefined
  if (!isList(states, isState) || states.length > plan.files.length) return undefined
  if (!isList(digests, isDigest) || !isList(ranks, isRank)) return undefined
  if (digests.some(([number]) => number >= stored)) return undefined
  if (!isList(sums, isSum) || sums.some(([file]) => file >= plan.files.length)) return undefined
  return { plan: digest, part, digests, ranks, records, sent, sums, states: states.map((state) => state ?? undefined) }
}

/** What one attempt at a part has uploaded, as text. */
export const sentText = (digest: string, sent: readonly SentFile[]): string =>
  withSum([JSON.stringify({ format: FORMAT, terge: VERSION, plan: digest, sent: sent.map(sentRow) })])

/** Nothing if the text is not what an attempt at a part of this plan has written. */
export const parseSent = (text: string, { digest, plan }: Omit<RecordOf, 'part'>): readonly SentFile[] =>
  sentFiles(plan, linesOf(text, digest)?.head.sent) ?? []

const sentRow = ({ output, file, receipt }: SentFile) => [output, file, receipt] as const

/** Undefined if one of them is not of a file of this plan. */
function sentFiles(plan: Plan, rows: unknown): SentFile[] | undefined {
  if (!Array.isArray(rows)) return undefined
  const sent = rows.flatMap((row: unknown): SentFile[] => {
    const [output, file, receipt] = Array.isArray(row) ? (row as unknown[]) : []
    const size = isIndex(output) && isIndex(file) ? plan.outputs[output]?.files[file]?.size : undefined
    return isReceipt(receipt) && size !== undefined && receipt.size <= size
      ? [{ output: output as number, file: file as number, receipt }]
      : []
  })
  return sent.length === rows.length ? sent : undefined
}

function withSum(lines: readonly string[]): string {
  const text = [...lines, ''].join('\n')
  return `${text}{"sum":"${sha256(text)}"}\n`
}

/** The first line and the others, if the checksum is right and it belongs to this plan and this version. */
function linesOf(text: string, digest: string): { readonly head: Unchecked; readonly lines: string[] } | undefined {
  const end = text.lastIndexOf('\n', text.length - 2) + 1
  const body = text.slice(0, end)
  if (text.slice(end) !== `{"sum":"${sha256(body)}"}\n`) return undefined
  const [first = '', ...lines] = body.split('\n')
  try {
    const head: unknown = JSON.parse(first)
    const right = isMap(head) && head.format === FORMAT && head.terge === VERSION && head.plan === digest
    return right ? { head, lines: lines.slice(0, -1) } : undefined
  } catch {
    return undefined
  }
}

type Unchecked = Readonly<Partial<Record<string, unknown>>>

const isMap = (value: unknown): value is Unchecked =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
const isIndex = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0
const isList = <T>(value: unknown, is: (one: unknown) => one is T): value is readonly T[] =>
  Array.isArray(value) && value.every(is)
const isState = (value: unknown): value is string | null => value === null || typeof value === 'string'
const isDigest = (value: unknown): value is readonly [number, string] =>
  Array.isArray(value) && value.length === 2 && isIndex(value[0]) && typeof value[1] === 'string'
const isSum = (value: unknown): value is readonly [number, string] =>
  isDigest(value) && /^sha256:[0-9a-f]{64}$/.test(value[1])
const isRank = (value: unknown): value is readonly [string, string, number] =>
  Array.isArray(value) &&
  value.length === 3 &&
  typeof value[0] === 'string' &&
  typeof value[1] === 'string' &&
  isIndex(value[2])
