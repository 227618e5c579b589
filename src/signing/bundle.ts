/** Sigstore bundles with a DSSE envelope: reading, writing, signing, checking. */
import { createPublicKey, sign, verify } from 'node:crypto'
import { Fault, fault } from '../core/diagnostics.js'
import { firstSignedBytes, isFirst } from './first.js'
import { checked, detailsOf, hintOf, pemOf, type SigningKey } from './keys.js'
import type { Bundle, Envelope, KeyMaterial } from './types.js'

const MEDIA_TYPE = 'application/vnd.dev.sigstore.bundle.v0.3+json'
/** The payload type of in-toto statements. */
const IN_TOTO = 'application/vnd.in-toto+json'

export const refused = (shown: string, what: string, hint?: string): Fault =>
  fault('bad-signature', `${shown}: ${what}`, hint ?? 'the signature proves nothing: ask the signer for another one')

/** Another key or certificate than the one given has signed. */
export class OtherSigner extends Fault {}

export const otherSigner = (shown: string, what: string, hint: string): OtherSigner =>
  new OtherSigner(refused(shown, what, hint).diagnostics)

/** What is signed: the type and the payload, each with its length (DSSE 1.0, "PAE"). */
const signedBytes = ({ payloadType, payload }: Pick<Envelope, 'payloadType' | 'payload'>): Buffer =>
  Buffer.concat([Buffer.from(`DSSEv1 ${Buffer.byteLength(payloadType)} ${payloadType} ${payload.length} `), payload])

/** Signs a statement: the text of a bundle. */
export function signedBundle(statement: string, key: SigningKey): string {
  const payload = Buffer.from(statement)
  const signature = sign(key.hash, signedBytes({ payloadType: IN_TOTO, payload }), { key: key.key, dsaEncoding: 'der' })
  const bundle = {
    mediaType: MEDIA_TYPE,
    verificationMaterial: { publicKey: { hint: hintOf(key) }, tlogEntries: [] },
    dsseEnvelope: {
      payload: payload.toString('base64'),
      payloadType: IN_TOTO,
      signatures: [{ sig: signature.toString('base64'), keyid: '' }],
    },
  }
  return `${JSON.stringify(bundle)}\n`
}

/**
 * Checks the signature of a bundle, and returns the payload. A hint that names another key is an error too: the signer meant
 * another key. Error: `bad-signature`.
 */
export function checkedPayload({ envelope, material }: Bundle, key: SigningKey, shown: string): Buffer {
  const other = 'check it with the public key of the signer'
  if (material.kind === 'certificates')
    throw otherSigner(
      shown,
      'was made with a certificate, not with a key',
      'give the certificate of its issuer: --certificate',
    )
  const { hint, pem, details } = material
  if (hint !== '' && hint !== hintOf(key))
    throw otherSigner(shown, 'was made with another key than the one given (it names the public key)', other)
  if (pem !== undefined && pemOf(keyIn(pem, shown).key) !== pemOf(key.key))
    throw otherSigner(shown, 'was made with another key than the one given (it holds the public key)', other)
  if (details !== undefined && details !== detailsOf(key) && !isFirst(envelope.payload))
    throw refused(shown, `names the algorithm ${JSON.stringify(details)}, but the key's is ${detailsOf(key)}`)
  return verified(envelope, key, shown)
}

/** The payload of an envelope that this key signed. Error: `bad-signature`. */
export function verified(envelope: Envelope, { key, hash }: SigningKey, shown: string): Buffer {
  if (envelope.payloadType !== IN_TOTO)
    throw refused(shown, `the payload type is ${JSON.stringify(envelope.payloadType)}, not ${IN_TOTO}`)
  if (isSigned(signedBytes(envelope), envelope, key, hash)) return envelope.payload
  // Version 0.2 signed other bytes, with SHA-256 for every key.
  if (isFirst(envelope.payload) && isSigned(firstSignedBytes(envelope), envelope, key, 'sha256'))
    return envelope.payload
  throw refused(
    shown,
    'the signature does not fit the key and the signed statement',
    'the bundle was changed after signing, or signed with another key or algorithm: do not use the model',
  )
}

function isSigned(bytes: Buffer, { signature }: Envelope, key: SigningKey['key'], hash: string): boolean {
  if (signature.length === 0) return false
  try {
    return verify(hash, bytes, { key, dsaEncoding: 'der' }, signature)
  } catch {
    return false
  }
}

function keyIn(pem: string, shown: string): SigningKey {
  try {
    return checked(createPublicKey(pem), `${shown}: the key in it`)
  } catch {
    throw refused(shown, 'the key in it is not a key that terge reads')
  }
}

type Fields = Readonly<Record<string, unknown>>

const isTextOrNone = (value: unknown): value is string | null | undefined =>
  typeof value === 'string' || value === undefined || value === null

/** Fields of an entry of a transparency log. */
const LOG_ENTRY = 'logIndex logId kindVersion integratedTime inclusionPromise inclusionProof canonicalizedBody'.split(
  ' ',
)

/** Parses a bundle. Unknown fields are refused, because they could change what it means. Error: `bad-signature`. */
export function parseBundle(text: string, shown: string): Bundle {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw refused(shown, 'is not a bundle: it is not JSON', 'the file is damaged or cut off: get it again')
  }
  const wrong = (what: string): Fault => refused(shown, `is not a bundle of OpenSSF Model Signing: ${what}`)
  const fieldsOf = (of: unknown, where: string, known: readonly string[]): Fields => {
    if (typeof of !== 'object' || of === null || Array.isArray(of)) throw wrong(`${where} is missing`)
    const odd = Object.keys(of).find((name) => !known.includes(name))
    if (odd !== undefined) throw wrong(`${where} has an unknown field ${JSON.stringify(odd)}`)
    return of as Fields
  }
  const base64 = (of: unknown, where: string): Buffer => {
    if (typeof of !== 'string' || !/^[A-Za-z0-9+/_-]*={0,2}$/.test(of)) throw wrong(`${where} is not base64`)
    return Buffer.from(of, 'base64')
  }
  const bundle = fieldsOf(value, 'the bundle', [
    'mediaType',
    'verificationMaterial',
    'dsseEnvelope',
    'messageSignature',
  ])
  if (bundle.mediaType !== MEDIA_TYPE)
    throw wrong(`its media type is ${JSON.stringify(bundle.mediaType)}, not ${MEDIA_TYPE}`)
  if (bundle.messageSignature !== undefined) throw wrong('it signs bytes, not a statement')
  const envelope = fieldsOf(bundle.dsseEnvelope, 'dsseEnvelope', ['payload', 'payloadType', 'signatures'])
  const { signatures } = envelope
  if (!Array.isArray(signatures) || signatures.length !== 1)
    throw wrong(
      `it has ${Array.isArray(signatures) ? signatures.length : 'no'} signatures, and must have exactly one signature`,
    )
  const { sig, keyid } = fieldsOf(signatures[0], 'the signature', ['sig', 'keyid'])
  if (!isTextOrNone(keyid)) throw wrong('the keyid of the signature is not text')
  if (typeof envelope.payloadType !== 'string') throw wrong('payloadType is missing')
  return {
    envelope: {
      payloadType: envelope.payloadType,
      payload: base64(envelope.payload, 'the payload'),
      signature: base64(sig, 'the signature'),
    },
    material: materialOf(bundle.verificationMaterial, fieldsOf, base64, wrong),
  }
}

function materialOf(
  value: unknown,
  fieldsOf: (of: unknown, where: string, known: readonly string[]) => Fields,
  base64: (of: unknown, where: string) => Buffer,
  wrong: (what: string) => Fault,
): KeyMaterial {
  const where = 'verificationMaterial'
  const material = fieldsOf(value, where, [
    'publicKey',
    'x509CertificateChain',
    'certificate',
    'tlogEntries',
    'timestampVerificationData',
  ])
  checkRest(material, fieldsOf, wrong)
  const kinds = (['publicKey', 'x509CertificateChain', 'certificate'] as const).filter(
    (kind) => material[kind] !== undefined && material[kind] !== null,
  )
  const [kind] = kinds
  if (kind === undefined) throw wrong(`${where} says nothing of the key`)
  if (kinds.length > 1) throw wrong(`${where} has both ${kinds.join(' and ')}`)
  const certificate = (of: unknown): Buffer =>
    decoded(base64(fieldsOf(of, 'a certificate', ['rawBytes']).rawBytes, 'a certificate'))
  if (kind === 'certificate') return { kind: 'certificates', chain: [certificate(material.certificate)] }
  if (kind === 'x509CertificateChain') {
    const { certificates } = fieldsOf(material.x509CertificateChain, 'x509CertificateChain', ['certificates'])
    if (!Array.isArray(certificates) || certificates.length === 0) throw wrong('it has no certificate')
    return { kind: 'certificates', chain: certificates.map(certificate) }
  }
  const { hint, rawBytes, keyDetails } = fieldsOf(material.publicKey, 'publicKey', ['hint', 'rawBytes', 'keyDetails'])
  if (!isTextOrNone(hint)) throw wrong('the hint of its key is not text')
  if (!isTextOrNone(keyDetails)) throw wrong('the details of its key are not text')
  return {
    kind: 'key',
    hint: hint ?? '',
    ...(rawBytes === undefined ? {} : { pem: base64(rawBytes, 'the key').toString('utf8') }),
    ...(keyDetails ? { details: keyDetails } : {}),
  }
}

/** Checks what says nothing of the key: entries of logs and times, which bundles of keyless signatures have. Nothing of it is used. */
function checkRest(
  { tlogEntries, timestampVerificationData: times }: Fields,
  fieldsOf: (of: unknown, where: string, known: readonly string[]) => Fields,
  wrong: (what: string) => Fault,
): void {
  const list = (value: unknown, where: string, known: readonly string[]): void => {
    if (value === undefined || value === null) return
    if (!Array.isArray(value)) throw wrong(`${where} is not a list`)
    for (const entry of value) fieldsOf(entry, `an entry of ${where}`, known)
  }
  list(tlogEntries, 'tlogEntries', LOG_ENTRY)
  if (times === undefined || times === null) return
  const { rfc3161Timestamps } = fieldsOf(times, 'timestampVerificationData', ['rfc3161Timestamps'])
  list(rfc3161Timestamps, 'rfc3161Timestamps', ['signedTimestamp'])
}

/** model_signing encodes certificates in base64 twice. */
const decoded = (bytes: Buffer): Buffer => (bytes[0] === 0x30 ? bytes : Buffer.from(bytes.toString('latin1'), 'base64'))
