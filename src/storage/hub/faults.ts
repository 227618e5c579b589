/** What the hub refuses, in words for the user, with the way out. */
import type { ErrorCode } from '../../core/codes.js'
import { type ExitCode, type Fault, fault } from '../../core/diagnostics.js'
import { quote } from '../../core/suggest.js'
import { HubError } from './request.js'
import type { HubSettings } from './settings.js'

/** What was asked for. */
export interface Subject {
  /** As the recipe writes it. */
  readonly reference: string
  /** `org/name` */
  readonly repository: string
  readonly revision?: string | undefined
  /** Of the repository's branches and tags. */
  readonly meant?: string | undefined
  /** A file or folder in it. */
  readonly entry?: string | undefined
  readonly exit?: ExitCode
}

/** A `HubError` as the user's fault; anything else as it is. */
export function hubFault(error: unknown, settings: HubSettings, subject: Subject): unknown {
  if (!(error instanceof HubError)) return error
  const { reference, repository, revision, entry, exit = 2 } = subject
  const { host } = new URL(settings.endpoint)
  const told = (code: ErrorCode, message: string, hint: string): Fault =>
    fault(code, `${reference}: ${message}`, hint, exit)
  const { status, code } = error
  const known = settings.token !== undefined
  if (code === 'GatedRepo')
    return told(
      'hub-gated',
      `${repository} is gated: request access`,
      known
        ? `ask for access at ${settings.endpoint}/${repository} with the account that HF_TOKEN belongs to`
        : `ask for access at ${settings.endpoint}/${repository}, then set HF_TOKEN to a token of your account`,
    )
  if (code === 'RevisionNotFound')
    return told(
      'hub-revision',
      `${repository} has no revision ${quote(revision ?? 'main')}`,
      subject.meant === undefined ? 'name a branch, a tag or a commit' : `did you mean ${quote(subject.meant)}?`,
    )
  if (code === 'EntryNotFound' || (status === 404 && entry !== undefined && code === undefined))
    return told(
      'hub-entry',
      `${repository} has no ${entry === undefined ? 'such file' : quote(entry)}`,
      'look at its files on the hub, and check the spelling',
    )
  // The hub answers so for what does not exist too, so that nobody can find out what is private.
  if (code === 'RepoNotFound' || status === 404 || (status === 401 && !known))
    return told(
      'hub-not-found',
      `there is no repository ${quote(repository)} on ${host}${known ? ' that this token may see' : ', or it is private'}`,
      known ? 'check the spelling, and whose token HF_TOKEN is' : 'check the spelling; for a private one set HF_TOKEN',
    )
  if (status === 401)
    return told('hub-login', `${host} does not accept the token`, 'set HF_TOKEN to a token that is valid, or unset it')
  if (status === 403)
    return told(
      'hub-forbidden',
      `${host} refuses access to ${repository}`,
      known
        ? 'the token may lack the right to read this repository'
        : 'set HF_TOKEN to a token with the right to read it',
    )
  return told(
    'hub-unreachable',
    `fetching from ${host} failed: ${error.message}`,
    'check the network and HF_ENDPOINT; what has come in already is kept, and the next run goes on from there',
  )
}

export const notCached = ({ reference, repository, revision }: Subject, cache: string): Fault =>
  fault(
    'hub-offline',
    `${reference}: ${repository}${revision === undefined ? '' : ` at ${quote(revision)}`} is not in the cache, and HF_HUB_OFFLINE forbids fetching it`,
    `unset HF_HUB_OFFLINE, or fetch it into ${cache} first`,
  )
