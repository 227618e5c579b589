/** Locks that are signed. */
import { createHash } from 'node:crypto'
import { type Diagnostic, fault } from '../../core/diagnostics.js'
import { type Lock, parseLock, readLockText } from '../../lineage/lock.js'
import { signatureBeside, signedList } from '../signing.js'
import { unchecked } from './inputSignatures.js'
import type { Trust } from './trust.js'

/** Who must have signed a lock: undefined if nobody must. */
export const trustIn = ({ key, certificate }: Trust): Trust | undefined =>
  key === undefined && certificate === undefined
    ? undefined
    : { ...(key === undefined ? {} : { key }), ...(certificate === undefined ? {} : { certificate }) }

/** What planning is told about signatures. */
export interface TrustOptions extends Trust {
  readonly locked?: boolean
  readonly requireSigned?: boolean
}

/** Error: `contradiction` for a key that checks nothing, and for signatures without a key. */
export function trustOf({ locked, requireSigned, ...given }: TrustOptions): Trust | undefined {
  const trust = trustIn(given)
  if (requireSigned && !trust)
    throw fault(
      'contradiction',
      'signed models are required, but there is no key to check them with',
      'give --key or --certificate',
    )
  if (trust && !locked && !requireSigned)
    throw fault(
      'contradiction',
      'there is nothing that this key is to check',
      'add --locked to check the lock, or --require-signed-models to check the models',
    )
  return trust
}

/**
 * Reads the lock at `file`. With `trust`, exactly its bytes must be signed. Errors: those of `readLockText` and `parseLock`,
 * `missing-signature`, `bad-signature`, `signed-files`.
 */
export async function readSignedLock(file: string, trust: Trust | undefined): Promise<Lock> {
  const text = await readLockText(file)
  if (trust) {
    const manifest = await signedList({ place: file, isFile: true }, trust)
    const { serialization, resources } = manifest
    const [only, ...others] = resources
    const digest = createHash(serialization.hash === 'sha256' ? 'sha256' : 'blake2b512')
      .update(text)
      .digest('hex')
    const isSigned = others.length === 0 && only?.name === '.' && serialization.method === 'files'
    if (!isSigned || only.digest !== digest)
      throw fault(
        'signed-files',
        `${file} differs from the file that was signed`,
        'compare it with the one in version control; after terge lock, sign it again with terge sign',
      )
  }
  return parseLock(text, file)
}

/** A warning about the signature of a lock that nobody checks. */
export async function uncheckedLock(file: string): Promise<Diagnostic[]> {
  const place = await signatureBeside(file)
  return place === undefined ? [] : [unchecked(`${place} was not checked`)]
}
