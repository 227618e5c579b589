/** The records of parts as text: what a part was, what it read, the records of its units, and a checksum. */
import { sha256 } from '../../core/digest.js'
import { VERSION } from '../../core/version.js'
import type { DonePart } from '../../execute/parts/part.js'
import { parseRecord, recordLine } from '../../execute/units/records.js'

/** What a record belongs to. */
export interface RecordOf {
  /** The digest of the plan that the recipe gives. */
  readonly plan: string
  /** `analyse`, or `3/16`. */
  readonly part: string
}

/** What the analyses found, or what a part did. */
export interface PartRecord extends DonePart, RecordOf {
  /** Ranks that an analysis found, by step and tensor. */
  readonly ranks: readonly (readonly [step: string, tensor: string, rank: number])[]
}

const FORMAT = 1

type Head = Pick<PartRecord, 'plan' | 'part' | 'states' | 'digests' | 'ranks'> & {
  readonly format: number
  readonly terge: string
}

/** In pieces, for one iteration. The last line has the checksum of the rest. */
export function recordText({ plan, part, states, digests, ranks, records }: PartRecord): string {
  const head = {
    format: FORMAT,
    terge: VERSION,
    plan,
    part,
    ranks,
    states: states.map((state) => state ?? null),
    digests,
  }
  const text = [JSON.stringify(head), ...records.map(recordLine), ''].join('\n')
  return `${text}{"sum":"${sha256(text)}"}\n`
}

/** Undefined if the text is not a complete record of this part. */
export function parsePartRecord(text: string, of: RecordOf): PartRecord | undefined {
  const end = text.lastIndexOf('\n', text.length - 2) + 1
  const body = text.slice(0, end)
  if (text.slice(end) !== `{"sum":"${sha256(body)}"}\n`) return undefined
  try {
    const [first, ...lines] = body.split('\n')
    const { format, terge, plan, part, states, digests, ranks } = JSON.parse(first!) as Head
    if (format !== FORMAT || terge !== VERSION || plan !== of.plan || part !== of.part) return undefined
    const records = lines.slice(0, -1).map(parseRecord)
    if (!records.every((record) => record !== undefined) || !isTable(digests, 2) || !isTable(ranks, 3)) return undefined
    return { plan, part, digests, ranks, records, states: states.map((state) => state ?? undefined) }
  } catch {
    return undefined
  }
}

const isTable = (rows: readonly unknown[], columns: number): boolean =>
  Array.isArray(rows) && rows.every((row) => Array.isArray(row) && row.length === columns)
