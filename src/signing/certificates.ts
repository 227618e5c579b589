/** Signatures whose key comes with a certificate: a chain from the signer to an issuer that the user trusts. */
import { X509Certificate } from 'node:crypto'
import { fault } from '../core/diagnostics.js'
import { otherSigner, refused, verified } from './bundle.js'
import { EXTENSION, extensionOf, unchecked } from './extensions.js'
import { checked } from './keys.js'
import type { Bundle } from './types.js'

/** More than any chain has. */
const MOST_CERTIFICATES = 16

/** The certificates in a PEM file. Error: `bad-signing-key`. */
export function trustedCertificates(pem: string, shown: string): X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g) ?? []
  try {
    if (blocks.length > 0) return blocks.map((block) => new X509Certificate(block))
  } catch {
    // The message below says it.
  }
  throw fault(
    'bad-signing-key',
    `${shown} has no certificate in PEM`,
    'give the certificate of the issuer that you trust',
  )
}

/**
 * Checks a bundle whose signer has a certificate, and returns the payload. The chain must lead to one of `trusted`, and be valid when
 * the signer's certificate became valid: bundles have no time of their own, and models are used longer than certificates last. Only a
 * certificate for digital signatures or for code signing counts. Error: `bad-signature`.
 */
export function payloadByCertificate(
  { envelope, material }: Bundle,
  trusted: readonly X509Certificate[],
  shown: string,
): Buffer {
  if (material.kind !== 'certificates')
    throw otherSigner(shown, 'was made with a key and has no certificate', 'give the public key of the signer: --key')
  const chain = material.chain.map((bytes) => {
    const certificate = certificateIn(bytes)
    if (certificate) return certificate
    throw refused(shown, 'holds a certificate that cannot be read')
  })
  if (chain.length > MOST_CERTIFICATES) throw refused(shown, `has ${chain.length} certificates`)
  const [signer] = chain
  checkChain(signer!, chain.slice(1), trusted, shown)
  checkPurpose(signer!, shown)
  return verified(envelope, checked(signer!.publicKey, `${shown}: the certificate of the signer`), shown)
}

/** The certificate that these bytes are; undefined if they are another thing, or more. */
function certificateIn(bytes: Buffer): X509Certificate | undefined {
  try {
    const certificate = new X509Certificate(bytes)
    return certificate.raw.equals(bytes) ? certificate : undefined
  } catch {
    return undefined
  }
}

function checkChain(
  signer: X509Certificate,
  others: readonly X509Certificate[],
  trusted: readonly X509Certificate[],
  shown: string,
): void {
  const time = new Date(signer.validFrom)
  let current = signer
  for (let step = 0; step <= MOST_CERTIFICATES; step++) {
    if (!isValidAt(current, time))
      throw refused(shown, `the certificate of ${nameOf(current)} was not valid when it was used`)
    checkConditions(current, shown)
    if (trusted.some((one) => one.fingerprint256 === current.fingerprint256)) return
    const issued = (one: X509Certificate): boolean => isIssuer(one, current, step)
    const root = trusted.find(issued)
    if (root) {
      checkConditions(root, shown)
      if (isValidAt(root, time)) return
      throw refused(shown, `the certificate of ${nameOf(root)} was not valid when the signer's became valid`)
    }
    const next = others.find((one) => one !== current && issued(one))
    if (!next) break
    current = next
  }
  throw otherSigner(
    shown,
    `the certificate of ${nameOf(signer)} does not lead to one that you trust`,
    'check that the file given with --certificate has the certificate of its issuer',
  )
}

/** Refuses a certificate with conditions that terge does not check. Error: `bad-signature`. */
function checkConditions(certificate: X509Certificate, shown: string): void {
  const why = unchecked(certificate)
  if (why !== undefined)
    throw refused(shown, `the certificate of ${nameOf(certificate)} ${why}`, 'check this signature with model_signing')
}

/** Whether `issuer` signed a certificate. `below`: how many certificates of issuers are between it and the signer's. */
function isIssuer(issuer: X509Certificate, subject: X509Certificate, below: number): boolean {
  if (!issuer.ca || !subject.checkIssued(issuer)) return false
  const most = pathLength(issuer)
  return (most === undefined || below <= most) && subject.verify(issuer.publicKey)
}

const isValidAt = ({ validFrom, validTo }: X509Certificate, time: Date): boolean =>
  new Date(validFrom) <= time && time <= new Date(validTo)

const nameOf = ({ subject }: X509Certificate): string => JSON.stringify((subject ?? '').split('\n').join(', '))

const CODE_SIGNING = '1.3.6.1.5.5.7.3.3'

/** The most certificates of issuers that may be below this one; undefined if it does not say. */
function pathLength(certificate: X509Certificate): number | undefined {
  // SEQUENCE { BOOLEAN true, INTEGER length }
  const content = extensionOf(certificate, EXTENSION.basicConstraints)
  return content?.[0] === 0x30 && content[2] === 0x01 && content[5] === 0x02 && content[6] === 1
    ? content[7]
    : undefined
}

/** Refuses a certificate that is neither for digital signatures nor for code signing. Error: `bad-signature`. */
function checkPurpose(certificate: X509Certificate, shown: string): void {
  // BIT STRING: length, unused bits, bits. The first bit is digitalSignature.
  const usage = extensionOf(certificate, EXTENSION.keyUsage)
  const signs = usage?.[0] === 0x03 && (usage[3]! & 0x80) !== 0
  if (signs || (certificate.keyUsage ?? []).includes(CODE_SIGNING)) return
  throw refused(shown, `the certificate of ${nameOf(certificate)} is not for signatures`)
}
