/** Settings of the hub, its cache and the token, from the environment variables that the hub's own libraries use. */
import { readFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fault } from '../../core/diagnostics.js'
import type { Timeouts } from '../remote/request.js'
import type { Cache } from '../remote/types.js'

export interface HubSettings extends Timeouts {
  /** `https://huggingface.co` or `HF_ENDPOINT`, without a slash at the end. */
  readonly endpoint: string
  /** Sent only to the origin of the endpoint, and never shown in messages. */
  readonly token?: string
  /** The folder that holds `models--ORG--NAME`. */
  readonly cache: string
  /** Whether to use only the cache. */
  readonly offline: boolean
}

export const cacheOf = ({ cache }: HubSettings): Cache => ({ folder: cache, variable: 'HF_HOME' })

const ENDPOINT = 'https://huggingface.co'
const ANSWER_SECONDS = 10
const BYTE_SECONDS = 30
/** In bytes. A token has about 40. */
const MAX_TOKEN = 1000

type Environment = Readonly<Record<string, string | undefined>>

/** Reads the settings. Error: `bad-environment` if the endpoint or the token is invalid. */
export function hubSettings(env: Environment = process.env): HubSettings {
  const home =
    expand(env.HF_HOME) ?? path.join(expand(env.XDG_CACHE_HOME) ?? path.join(os.homedir(), '.cache'), 'huggingface')
  const token = readToken(env, home)
  return {
    endpoint: readEndpoint(env.HF_ENDPOINT),
    cache: path.resolve(expand(env.HF_HUB_CACHE) ?? expand(env.HUGGINGFACE_HUB_CACHE) ?? path.join(home, 'hub')),
    offline: isOn(env.HF_HUB_OFFLINE) || isOn(env.TRANSFORMERS_OFFLINE),
    answerTimeout: seconds(env.HF_HUB_ETAG_TIMEOUT, ANSWER_SECONDS) * 1000,
    byteTimeout: seconds(env.HF_HUB_DOWNLOAD_TIMEOUT, BYTE_SECONDS) * 1000,
    ...(token === undefined ? {} : { token }),
  }
}

const isOn = (text: string | undefined): boolean => /^(1|on|yes|true)$/i.test(text?.trim() ?? '')

/** Expands `~`. An empty variable counts as unset. */
function expand(text: string | undefined): string | undefined {
  if (text === undefined || text === '') return undefined
  return /^~(?=$|[/\\])/.test(text) ? path.join(os.homedir(), text.slice(1)) : text
}

function seconds(text: string | undefined, otherwise: number): number {
  const value = Number(text)
  return text !== undefined && text !== '' && value > 0 && value <= 86_400 ? value : otherwise
}

function readEndpoint(text: string | undefined): string {
  if (text === undefined || text === '') return ENDPOINT
  const wrong = (what: string) =>
    fault(
      'bad-environment',
      `HF_ENDPOINT ${what}`,
      `unset it for ${ENDPOINT}, or set it to a URL such as http://localhost:8080`,
    )
  if (!URL.canParse(text)) throw wrong('is not a URL')
  const url = new URL(text)
  if (url.protocol !== 'https:' && url.protocol !== 'http:') throw wrong('is not an http or https URL')
  // Messages would show the password in the URL.
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '')
    throw wrong('may have only a host and a path, not a user, password or query')
  return url.href.replace(/\/+$/, '')
}

/** The token from the environment, or the one that the hub's own tools stored at login. */
function readToken(env: Environment, home: string): string | undefined {
  const given = (env.HF_TOKEN ?? env.HUGGING_FACE_HUB_TOKEN ?? '').trim()
  if (given !== '') return checkToken(given, 'HF_TOKEN')
  if (isOn(env.HF_HUB_DISABLE_IMPLICIT_TOKEN)) return undefined
  try {
    const stored = readFileSync(expand(env.HF_TOKEN_PATH) ?? path.join(home, 'token'), 'utf8').trim()
    return stored === '' || stored.length > MAX_TOKEN ? undefined : checkToken(stored, 'the stored token')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== undefined) return undefined
    throw error
  }
}

/** Refuses characters that HTTP headers do not allow. Otherwise a later error would show the token. */
function checkToken(token: string, what: string): string {
  if (/^[\x21-\x7e]+$/.test(token) && token.length <= MAX_TOKEN) return token
  throw fault(
    'bad-environment',
    `${what} is not a hub access token`,
    'a token starts with hf_ and has only letters and digits',
  )
}
