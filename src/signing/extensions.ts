/** The extensions of a certificate, which Node does not give: a reader of the parts of DER (X.690) that lead to them. */
import type { X509Certificate } from 'node:crypto'

/** What terge asks for, by the bytes of their OIDs in hexadecimal: 2.5.29.15, and so on. */
export const EXTENSION = {
  keyUsage: '551d0f',
  basicConstraints: '551d13',
} as const

/**
 * Extensions that cannot make a chain invalid, or that terge or Node checks: names and identifiers of keys, uses, basic constraints,
 * policies, and where lists of revoked certificates are. Any other critical one is a condition that nobody has checked.
 */
const UNDERSTOOD: ReadonlySet<string> = new Set([
  ...Object.values(EXTENSION),
  ...['0e', '11', '12', '1f', '20', '21', '23', '24', '25', '36'].map((last) => `551d${last}`),
])
/** Which names an issuer may certify. It holds also if it is not critical. */
const NAME_CONSTRAINTS = '551d1e'

interface Value {
  readonly tag: number
  readonly content: Buffer
}

/** The values in DER one after the other. Throws a RangeError where the bytes are not DER. */
function valuesIn(bytes: Buffer): Value[] {
  const values: Value[] = []
  for (let at = 0; at < bytes.length; ) {
    const tag = bytes.readUInt8(at)
    let size = bytes.readUInt8(at + 1)
    at += 2
    if (size >= 0x80) {
      const count = size - 0x80
      size = bytes.readUIntBE(at, count)
      at += count
    }
    if (size > bytes.length - at) throw new RangeError('a value is longer than its certificate')
    values.push({ tag, content: bytes.subarray(at, at + size) })
    at += size
  }
  return values
}

interface Extension {
  /** Its OID in hexadecimal. */
  readonly id: string
  readonly critical: boolean
  readonly content: Buffer
}

/** Certificate { TBSCertificate { …, [3] { Extensions { Extension { OID, critical?, OCTET STRING } } } } }. */
function extensionsIn({ raw }: X509Certificate): Extension[] {
  const [certificate] = valuesIn(raw)
  const [signed] = valuesIn(certificate!.content)
  const wrapped = valuesIn(signed!.content).find(({ tag }) => tag === 0xa3)
  const [list] = wrapped ? valuesIn(wrapped.content) : []
  return (list ? valuesIn(list.content) : []).map(({ content }) => {
    const [id, ...rest] = valuesIn(content)
    return {
      id: id!.content.toString('hex'),
      critical: rest.length > 1 && rest[0]!.content.some((byte) => byte !== 0),
      content: rest.at(-1)!.content,
    }
  })
}

/** The content of an extension; undefined if the certificate does not have it. */
export const extensionOf = (certificate: X509Certificate, id: string): Buffer | undefined =>
  extensionsIn(certificate).find((one) => one.id === id)?.content

/** Why a certificate has a condition that terge cannot check, as text that follows its name; undefined for others. */
export function unchecked(certificate: X509Certificate): string | undefined {
  const found = extensionsIn(certificate)
  if (found.some(({ id }) => id === NAME_CONSTRAINTS)) return 'limits the names below it, which terge does not check'
  return found.some(({ id, critical }) => critical && !UNDERSTOOD.has(id))
    ? 'has a critical extension that terge does not know'
    : undefined
}
