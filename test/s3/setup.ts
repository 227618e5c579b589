/** Helpers of the S3 tests: models to store, and the real command with its own folder, cache and home. */
import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { inFolder } from '../support/files.js'
import { type Ran, terge } from '../support/terge.js'
import { type S3Options, type S3Server, type StoredObject, startS3 } from './server.js'

export const KEYS = { id: 'AKIATESTKEYOFTERGE12', secret: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYTESTKEY' }

/** The files of a model under a prefix. */
export const under = (prefix: string, files: Record<string, Uint8Array>): Record<string, StoredObject> =>
  Object.fromEntries(Object.entries(files).map(([name, bytes]) => [`${prefix}${name}`, { bytes }]))

export interface S3Bench {
  readonly s3: S3Server
  readonly folder: string
  readonly cache: string
  readonly env: NodeJS.ProcessEnv
  readonly write: (name: string, text: string | Uint8Array) => string
  readonly run: (args: readonly string[], env?: NodeJS.ProcessEnv) => Promise<Ran>
}

export const withS3 = (options: S3Options, work: (bench: S3Bench) => Promise<void>): Promise<void> =>
  inFolder(async (folder) => {
    const s3 = await startS3(options)
    const cache = path.join(folder, 'cache')
    const env: NodeJS.ProcessEnv = {
      AWS_ENDPOINT_URL: '',
      AWS_ENDPOINT_URL_S3: s3.url,
      AWS_ACCESS_KEY_ID: options.keys?.id ?? '',
      AWS_SECRET_ACCESS_KEY: options.keys?.secret ?? '',
      AWS_SESSION_TOKEN: options.keys?.token ?? '',
      AWS_PROFILE: '',
      AWS_DEFAULT_PROFILE: '',
      AWS_REGION: '',
      AWS_DEFAULT_REGION: '',
      AWS_CONFIG_FILE: path.join(folder, 'aws/config'),
      AWS_SHARED_CREDENTIALS_FILE: path.join(folder, 'aws/credentials'),
      TERGE_CACHE: cache,
    }
    try {
      await work({
        ...{ s3, folder, cache, env },
        write(name, text) {
          const file = path.join(folder, name)
          mkdirSync(path.dirname(file), { recursive: true })
          writeFileSync(file, text)
          return file
        },
        run: (args, more = {}) => terge(args, folder, { ...env, ...more }),
      })
    } finally {
      await s3.close()
    }
  })
