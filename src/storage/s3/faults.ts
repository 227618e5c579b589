/** Turns refusals of a store into errors with hints. No error shows a key, or the address of the store. */
import type { ErrorCode } from '../../core/codes.js'
import { type ExitCode, type Fault, fault } from '../../core/diagnostics.js'
import { quote } from '../../core/suggest.js'
import { RequestError } from '../remote/request.js'
import { exportHint } from './credentials.js'
import type { S3Settings } from './settings.js'

/** What a request is about, for messages. */
export interface S3Subject {
  /** As the recipe writes it. */
  readonly reference: string
  readonly bucket: string
  /** An object, for messages. */
  readonly entry?: string | undefined
  readonly exit?: ExitCode
  /** Whether something is uploaded. */
  readonly writes?: boolean
}

const SET_KEYS = 'set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; for SSO and roles'

const WRITING = 's3:ListBucket, s3:GetObject, s3:PutObject, s3:DeleteObject and s3:AbortMultipartUpload'

/** What is wrong with the credentials, by the store's code. */
const REFUSED: ReadonlyMap<string, readonly [string, string]> = new Map([
  ['ExpiredToken', ['the session token has expired', exportHint()]],
  ['TokenRefreshRequired', ['the session token has expired', exportHint()]],
  ['InvalidToken', ['the store does not accept the session token', exportHint()]],
  [
    'InvalidAccessKeyId',
    ['the store does not know the access key', 'check AWS_ACCESS_KEY_ID or the profile, and which store it belongs to'],
  ],
  [
    'SignatureDoesNotMatch',
    ['the secret key does not belong to the access key', 'check AWS_SECRET_ACCESS_KEY or the profile, and AWS_REGION'],
  ],
])

/** Turns a `RequestError` into an error for the user; returns other errors unchanged. */
export function s3Fault(error: unknown, { credentials }: S3Settings, subject: S3Subject): unknown {
  if (!(error instanceof RequestError)) return error
  const { reference, bucket, entry, exit = 2, writes = false } = subject
  const fail = (code: ErrorCode, message: string, hint: string): Fault =>
    fault(code, `${reference}: ${message}`, hint, exit)
  const { status, code = '' } = error
  const refused = REFUSED.get(code)
  if (refused) return fail('s3-credentials', ...refused)
  if (code === 'RequestTimeTooSkewed')
    return fail('s3-clock', "this machine's clock differs too much from the store's", 'set the clock of this machine')
  if (status === 412 && entry !== undefined)
    return fail('s3-changed', `${entry} has changed since it was listed`, 'run again when nothing writes to it')
  if (code === 'NoSuchBucket' || (status === 404 && entry === undefined))
    return fail(
      's3-not-found',
      `there is no bucket ${quote(bucket)}`,
      'check the spelling and which account the keys belong to; for a store other than AWS set AWS_ENDPOINT_URL_S3',
    )
  if (status === 404)
    return fail('s3-not-found', `there is no ${quote(entry!)}`, 'run again when nothing changes the model')
  // Swift answers 412 to a request without a signature.
  if (status === 401 || status === 403 || (status === 412 && !credentials))
    return fail(
      's3-forbidden',
      `the store refuses access to the bucket ${quote(bucket)}${credentials ? '' : ' without credentials'}`,
      credentials
        ? `check that the keys have the permissions ${writes ? WRITING : 's3:ListBucket and s3:GetObject'}`
        : `${SET_KEYS} ${exportHint()}`,
    )
  return fail(
    's3-unreachable',
    `a request to the store failed: ${error.message}`,
    `check the network, AWS_ENDPOINT_URL_S3 and AWS_REGION; ${writes ? 'run again with --resume to continue the upload' : 'the next run resumes the download'}`,
  )
}
