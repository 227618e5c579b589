/** Keys for signatures: ECDSA on the curves of NIST, as the standard's tool accepts them. */
import { createHash, createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto'
import { Fault, fault } from '../core/diagnostics.js'

/** The digest that goes with each curve. It follows from the key, never from a file, so that nobody can choose a weaker one. */
const HASHES: Readonly<Record<string, string>> = { prime256v1: 'sha256', secp384r1: 'sha384', secp521r1: 'sha512' }
/** What Sigstore calls keys, by their digest. */
const DETAILS: Readonly<Record<string, string>> = {
  sha256: 'PKIX_ECDSA_P256_SHA_256',
  sha384: 'PKIX_ECDSA_P384_SHA_384',
  sha512: 'PKIX_ECDSA_P521_SHA_512',
}

/** A key, and the digest that signatures with it are made over. */
export interface SigningKey {
  readonly key: KeyObject
  readonly hash: string
}

const HOW =
  'make one with: openssl ecparam -name prime256v1 -genkey -noout -out key.pem; openssl ec -in key.pem -pubout -out key.pub.pem'

const unusable = (shown: string, what: string, hint = HOW): Fault => fault('bad-signing-key', `${shown} ${what}`, hint)

/** Reads a private key, PEM in PKCS #8 or SEC 1. Error: `bad-signing-key`. */
export function privateKeyOf(pem: string, shown: string): SigningKey {
  if (/-----BEGIN ENCRYPTED PRIVATE KEY-----|Proc-Type: 4,ENCRYPTED/.test(pem))
    throw unusable(shown, 'is encrypted', `write it without a password first: openssl pkey -in ${shown} -out plain.pem`)
  try {
    return checked(createPrivateKey(pem), shown)
  } catch (error) {
    throw refusalOf(error, shown, 'private')
  }
}

/** Reads a public key, PEM. Error: `bad-signing-key`. */
export function publicKeyOf(pem: string, shown: string): SigningKey {
  if (/PRIVATE KEY-----/.test(pem))
    throw unusable(
      shown,
      'is a private key, but checking needs the public one',
      `write it: openssl pkey -in ${shown} -pubout`,
    )
  try {
    return checked(createPublicKey(pem), shown)
  } catch (error) {
    throw refusalOf(error, shown, 'public')
  }
}

/** Checks that a key is of a kind that the standard knows. Error: `bad-signing-key`. */
export function checked(key: KeyObject, shown: string): SigningKey {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key
  const hash = type === 'ec' ? HASHES[details?.namedCurve ?? ''] : undefined
  if (hash !== undefined) return { key, hash }
  const kind = type === 'ec' ? `on the curve ${details?.namedCurve}` : `of the kind ${type}`
  throw unusable(
    shown,
    `is a key ${kind}: OpenSSF Model Signing accepts only elliptic-curve keys on P-256, P-384 and P-521`,
  )
}

const refusalOf = (error: unknown, shown: string, kind: 'private' | 'public'): Fault =>
  error instanceof Fault ? error : unusable(shown, `is not a ${kind} key in PEM`)

/** The hint that bundles have: SHA-256 of the public key as PEM, in hexadecimal. */
export const hintOf = ({ key }: SigningKey): string => createHash('sha256').update(pemOf(key)).digest('hex')

/** The name of a key's kind and digest in bundles before 1.1. */
export const detailsOf = ({ hash }: SigningKey): string => DETAILS[hash]!

export const pemOf = (key: KeyObject): string =>
  (key.type === 'private' ? createPublicKey(key) : key).export({ type: 'spki', format: 'pem' }).toString()
