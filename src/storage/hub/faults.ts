/** Turns refusals of the hub into errors with hints. */
import type { ErrorCode } from '../../core/codes.js'
import { type ExitCode, type Fault, fault } from '../../core/diagnostics.js'
import { quote } from '../../core/suggest.js'
import { RequestError } from '../remote/request.js'
import type { HubSettings } from './settings.js'

/** What a request is about, for messages. */
export interface Subject {
  /** As the recipe writes it. */
  readonly reference: string
  /** `org/name` */
  readonly repository: string
  readonly revision?: string | undefined
  /** The branch or tag that the user probably meant. */
  readonly meant?: string | undefined
  /** A file or folder in it. */
  readonly entry?: string | undefined
  readonly exit?: ExitCode
  /** Whether something is uploaded. */
  readonly writes?: boolean
}

/** Turns a `RequestError` into an error for the user; returns other errors unchanged. */
export function hubFault(error: unknown, settings: HubSettings, subject: Subject): unknown {
  if (!(error instanceof RequestError)) return error
  const { reference, repository, revision, entry, exit = 2, writes = false } = subject
  const { host } = new URL(settings.endpoint)
  const fail = (code: ErrorCode, message: string, hint: string): Fault =>
    fault(code, `${reference}: ${message}`, hint, exit)
  const { status, code } = error
  const known = settings.token !== undefined
  if (code === 'GatedRepo')
    return fail(
      'hub-gated',
      `${repository} is gated: request access`,
      known
        ? `ask for access at ${settings.endpoint}/${repository} with the account that HF_TOKEN belongs to`
        : `ask for access at ${settings.endpoint}/${repository}, then set HF_TOKEN to a token of your account`,
    )
  if (code === 'RevisionNotFound')
    return fail(
      'hub-revision',
      `${repository} has no revision ${quote(revision ?? 'main')}`,
      subject.meant === undefined ? 'name a branch, a tag or a commit' : `did you mean ${quote(subject.meant)}?`,
    )
  if (code === 'EntryNotFound' || (status === 404 && entry !== undefined && code === undefined))
    return fail(
      'hub-entry',
      `${repository} has no ${entry === undefined ? 'such file' : quote(entry)}`,
      'check the spelling against its files on the hub',
    )
  // The hub gives the same answer for missing and private repositories, so that nobody can find out which are private.
  if (code === 'RepoNotFound' || status === 404 || (status === 401 && !known))
    return fail(
      'hub-not-found',
      `${host} has no repository ${quote(repository)}${known ? ' that this token can read' : ', or it is private'}`,
      known
        ? 'check the spelling, and which account HF_TOKEN belongs to'
        : 'check the spelling; for a private repository set HF_TOKEN',
    )
  if (status === 401)
    return fail('hub-login', `${host} does not accept the token`, 'set HF_TOKEN to a valid token, or unset it')
  if (status === 403)
    return fail(
      'hub-forbidden',
      `${host} refuses ${writes ? 'changes of' : 'access to'} ${repository}`,
      known
        ? `check that the token has permission to ${writes ? 'write to' : 'read'} this repository`
        : 'set HF_TOKEN to a token that has permission to read it',
    )
  return fail(
    'hub-unreachable',
    `a request to ${host} failed: ${error.message}`,
    `check the network and HF_ENDPOINT; ${writes ? 'run again with --resume to continue the upload' : 'the next run resumes the download'}`,
  )
}

export const notCached = ({ reference, repository, revision }: Subject, cache: string): Fault =>
  fault(
    'hub-offline',
    `${reference}: ${repository}${revision === undefined ? '' : ` at ${quote(revision)}`} is not in the cache, and HF_HUB_OFFLINE forbids downloading it`,
    `unset HF_HUB_OFFLINE, or download it into ${cache} first`,
  )
