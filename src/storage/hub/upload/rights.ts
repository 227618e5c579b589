/** Whether the token may write, as far as the hub says so before anything is uploaded. */
import { bodyOf, MOST_QUESTIONS, patiently, RequestError } from '../../remote/request.js'
import { get } from '../request.js'
import type { HubSettings } from '../settings.js'

const MOST_ANSWER = 2 ** 20

interface Account {
  readonly name?: unknown
  readonly orgs?: unknown
  readonly auth?: { readonly accessToken?: { readonly role?: unknown } }
}

/**
 * Throws a `RequestError` with status 403 if the token can only read, or the account does not have the namespace of a repository
 * that has to be made. `exists`: whether the repository is there.
 */
export async function checkRights(
  settings: HubSettings,
  repository: string,
  exists: boolean,
  signal: AbortSignal | undefined,
): Promise<void> {
  const account = await accountOf(settings, signal)
  const refused = (): RequestError => new RequestError('the token may not write', 403)
  if (account?.auth?.accessToken?.role === 'read') throw refused()
  if (exists || typeof account?.name !== 'string' || !Array.isArray(account.orgs)) return
  const names = [account.name, ...(account.orgs as readonly { name?: unknown }[]).map((one) => one?.name)]
  const namespace = repository.split('/')[0]!.toLowerCase()
  if (!names.some((name) => typeof name === 'string' && name.toLowerCase() === namespace)) throw refused()
}

async function accountOf(settings: HubSettings, signal: AbortSignal | undefined): Promise<Account | undefined> {
  try {
    const body = await patiently(
      async () => bodyOf(await get(settings, `${settings.endpoint}/api/whoami-v2`, { signal }), MOST_ANSWER),
      { most: MOST_QUESTIONS, signal },
    )
    return JSON.parse(body.toString('utf8')) as Account
  } catch (error) {
    // Mirrors do not have accounts. A token that is not valid is an error.
    if (error instanceof SyntaxError || (error instanceof RequestError && error.status === 404)) return undefined
    throw error
  }
}
