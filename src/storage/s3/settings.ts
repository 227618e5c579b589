/** Where S3 is, and how terge identifies itself: from the environment variables and files that the AWS tools use. */
import path from 'node:path'
import { fault } from '../../core/diagnostics.js'
import { CACHE_VARIABLE, cacheRoot, setVariable as given } from '../local/cacheRoot.js'
import type { Timeouts } from '../remote/request.js'
import type { Cache } from '../remote/types.js'
import { type Credentials, credentialsOf } from './credentials.js'
import { type Environment, readProfile } from './profile.js'

export interface S3Settings extends Timeouts {
  /** An address of an S3-compatible store, without a slash at the end; AWS where absent. Never shown in messages. */
  readonly endpoint?: string
  /** The region to start with. A bucket can be in another one. */
  readonly region: string
  /** Absent for anonymous requests. Never shown in messages. */
  readonly credentials?: Credentials
  /** The folder that holds `s3--BUCKET--STORE`. */
  readonly cache: string
}

const REGION = 'us-east-1'
const ANSWER_TIMEOUT = 10_000
const BYTE_TIMEOUT = 30_000

export const cacheOf = ({ cache }: S3Settings): Cache => ({ folder: cache, variable: CACHE_VARIABLE })

/** The folder of the cache. */
export const cacheFolder = (env: Environment = process.env): string => path.join(cacheRoot(env), 's3')

/** Reads the settings. Errors: `bad-environment`, those of `credentialsOf`. */
export async function s3Settings(env: Environment = process.env): Promise<S3Settings> {
  const profile = await readProfile(env)
  const credentials = credentialsOf(env, profile)
  const endpoint = readEndpoint(env, profile.keys.get('endpoint_url'))
  return {
    region: readRegion(given(env.AWS_REGION) ?? given(env.AWS_DEFAULT_REGION) ?? profile.keys.get('region') ?? REGION),
    cache: cacheFolder(env),
    answerTimeout: ANSWER_TIMEOUT,
    byteTimeout: BYTE_TIMEOUT,
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(credentials === undefined ? {} : { credentials }),
  }
}

/** The address of the store, for places in the cache. Error: `bad-environment`. */
export const endpointOf = (env: Environment = process.env): Promise<string | undefined> =>
  readProfile(env).then(({ keys }) => readEndpoint(env, keys.get('endpoint_url')))

export const isRegion = (text: string): boolean => /^[a-z0-9-]{1,40}$/.test(text)

function readRegion(text: string): string {
  if (isRegion(text)) return text
  throw fault('bad-environment', 'AWS_REGION is not a region', 'set it to a region such as us-east-1')
}

function readEndpoint(env: Environment, ofProfile: string | undefined): string | undefined {
  const text = given(env.AWS_ENDPOINT_URL_S3) ?? given(env.AWS_ENDPOINT_URL) ?? given(ofProfile)
  if (text === undefined) return undefined
  const wrong = (what: string) =>
    fault('bad-environment', `AWS_ENDPOINT_URL_S3 ${what}`, 'unset it for AWS, or set it to the URL of the store')
  if (!URL.canParse(text)) throw wrong('is not a URL')
  const url = new URL(text)
  if (url.protocol !== 'https:' && url.protocol !== 'http:') throw wrong('is not an http or https URL')
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '')
    throw wrong('may have only a host and a path, not a user, password or query')
  return url.href.replace(/\/+$/, '')
}
