/** Keys for signing, as far as they are static. For all others, the AWS tools export keys that are valid for a while. */
import { type Fault, fault } from '../../core/diagnostics.js'
import { quote } from '../../core/suggest.js'
import type { Environment, Profile } from './profile.js'

export interface Credentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string
}

/** Keys of a profile whose credentials other programs or services make. */
const MADE_ELSEWHERE = [
  'sso_session',
  'sso_start_url',
  'role_arn',
  'credential_process',
  'web_identity_token_file',
  'login_session',
]

export const exportHint = (profile?: string): string =>
  `run eval "$(aws configure export-credentials ${profile === undefined ? '' : `--profile ${profile} `}--format env)", then run again`

/** The keys from the environment, or those of the profile; undefined for anonymous requests. Error: `s3-credentials`. */
export function credentialsOf(env: Environment, profile: Profile): Credentials | undefined {
  const id = env.AWS_ACCESS_KEY_ID?.trim() ?? ''
  const secret = env.AWS_SECRET_ACCESS_KEY?.trim() ?? ''
  if (id !== '' && secret !== '') return checked(id, secret, env.AWS_SESSION_TOKEN, 'AWS_ACCESS_KEY_ID')
  if (id !== '' || secret !== '') {
    const [one, other] = ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY']
    const [set, unset] = id === '' ? [other, one] : [one, other]
    throw wrong(`${set} is set, but ${unset} is not`, 'set both, or none of them')
  }
  const { name, chosen, found, keys } = profile
  if (chosen && !found)
    throw wrong(
      `there is no profile ${quote(name)} in the AWS configuration`,
      'check AWS_PROFILE, or run aws configure',
    )
  const stored = [keys.get('aws_access_key_id'), keys.get('aws_secret_access_key')] as const
  if (stored[0] !== undefined && stored[1] !== undefined)
    return checked(stored[0], stored[1], keys.get('aws_session_token'), `the profile ${quote(name)}`)
  if (!chosen && !MADE_ELSEWHERE.some((key) => keys.has(key))) return undefined
  throw wrong(`the profile ${quote(name)} has no access key`, exportHint(chosen ? name : undefined))
}

const wrong = (message: string, hint: string): Fault => fault('s3-credentials', message, hint)

/** Refuses characters that HTTP headers do not allow. Otherwise a later error would show them. */
function checked(id: string, secret: string, token: string | undefined, what: string): Credentials {
  const session = token?.trim() ?? ''
  if (!/^[\x21-\x7e]{1,1000}$/.test(id) || !/^[\x21-\x7e]{0,10000}$/.test(session) || secret.length > 1000)
    throw wrong(`${what} is not a valid key`, 'copy the key again')
  return { accessKeyId: id, secretAccessKey: secret, ...(session === '' ? {} : { sessionToken: session }) }
}
