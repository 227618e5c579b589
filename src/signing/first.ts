/** Bundles of model_signing 0.2, the first version that was in use: it signed other bytes, by a mistake that its successors still accept. */
import type { Envelope } from './types.js'

export const FIRST_PREDICATE = 'https://model_signing/Digests/v0.1'

/** Whether a payload is a statement of that version. */
export function isFirst(payload: Buffer): boolean {
  try {
    const statement: unknown = JSON.parse(payload.toString('utf8'))
    return (statement as { predicateType?: unknown } | null)?.predicateType === FIRST_PREDICATE
  } catch {
    return false
  }
}

/** What it signed: the payload as Python prints bytes, such as `b'{"_type": …}'`. */
export const firstSignedBytes = ({ payloadType, payload }: Pick<Envelope, 'payloadType' | 'payload'>): Buffer =>
  Buffer.from(`DSSEV1 ${payloadType.length} ${payloadType} ${payload.length} ${pythonBytes(payload)}`, 'latin1')

const ESCAPES: Readonly<Record<string, string>> = { '\t': '\\t', '\n': '\\n', '\r': '\\r', '\\': '\\\\' }

/** Bytes as Python writes them. All characters are ASCII. */
function pythonBytes(bytes: Buffer): string {
  const text = bytes.toString('latin1')
  const mark = text.includes("'") && !text.includes('"') ? '"' : "'"
  const inside = text.replace(/[\\'"\x00-\x1f\x7f-\xff]/g, (one) => {
    if (one === '"' || one === "'") return one === mark ? `\\${one}` : one
    return ESCAPES[one] ?? `\\x${one.charCodeAt(0).toString(16).padStart(2, '0')}`
  })
  return `b${mark}${inside}${mark}`
}
