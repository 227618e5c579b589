/** Helpers of the hub tests: models to publish, and the real command with its own folder and cache. */
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { f32, inFolder, numbers, type RawTensor, safetensors } from '../support/files.js'
import { type Ran, terge } from '../support/terge.js'
import { type Hub, type Options, startHub } from './server.js'

export const FIRST = 'a'.repeat(40)
export const SECOND = 'b'.repeat(40)

const tensor = (seed: number, rows = 64): RawTensor => f32([rows, 64], numbers(rows * 64, seed))

/** A model in one file, with its small files. */
export const single = (seed: number, rows?: number): Record<string, Uint8Array> => ({
  'config.json': Buffer.from(`{"model_type": "test", "seed": ${seed}}`),
  'tokenizer.json': Buffer.from('{"version": "1.0"}'),
  'README.md': Buffer.from('# A model'),
  'model.safetensors': safetensors({ 'layers.0.w': tensor(seed, rows), 'layers.1.w': tensor(seed + 100, rows) }),
})

/** The same in two shards. */
export function sharded(seed: number): Record<string, Uint8Array> {
  const shards = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'] as const
  const index = { metadata: {}, weight_map: { 'layers.0.w': shards[0], 'layers.1.w': shards[1] } }
  const { 'model.safetensors': _, ...rest } = single(seed)
  return {
    ...rest,
    'model.safetensors.index.json': Buffer.from(JSON.stringify(index)),
    [shards[0]]: safetensors({ 'layers.0.w': tensor(seed) }),
    [shards[1]]: safetensors({ 'layers.1.w': tensor(seed + 100) }),
  }
}

/** A model in shards of `each` layers. */
export function shards(seed: number, layers: number, each: number, rows = 64): Record<string, Uint8Array> {
  const count = Math.ceil(layers / each)
  const nameOf = (shard: number) =>
    `model-${String(shard + 1).padStart(5, '0')}-of-${String(count).padStart(5, '0')}.safetensors`
  const weights: Record<string, string> = {}
  const files = Array.from({ length: count }, (_, shard) => {
    const own: Record<string, RawTensor> = {}
    for (let layer = shard * each; layer < Math.min(layers, (shard + 1) * each); layer++) {
      own[`layers.${layer}.w`] = tensor(seed + 100 * layer, rows)
      weights[`layers.${layer}.w`] = nameOf(shard)
    }
    return [nameOf(shard), safetensors(own)] as const
  })
  return {
    'config.json': Buffer.from(`{"model_type": "test", "seed": ${seed}}`),
    'tokenizer.json': Buffer.from('{"version": "1.0"}'),
    'model.safetensors.index.json': Buffer.from(JSON.stringify({ metadata: {}, weight_map: weights })),
    ...Object.fromEntries(files),
  }
}

export const repository = (files: Record<string, Uint8Array>) => ({
  commits: { [FIRST]: files },
  refs: { main: FIRST },
})

/** Two models of one shape under `org/a` and `org/b`. */
export const two = (): Options['repositories'] => ({ 'org/a': repository(single(1)), 'org/b': repository(sharded(2)) })

export interface Bench {
  readonly hub: Hub
  readonly folder: string
  /** Of the cache: `HF_HOME/hub`. */
  readonly cache: string
  readonly write: (name: string, text: string) => string
  readonly run: (args: readonly string[], env?: NodeJS.ProcessEnv) => Promise<Ran>
  readonly env: NodeJS.ProcessEnv
}

export const withHub = (options: Options, work: (bench: Bench) => Promise<void>): Promise<void> =>
  inFolder((folder) => withHubIn(folder, options, work))

async function withHubIn(folder: string, options: Options, work: (bench: Bench) => Promise<void>): Promise<void> {
  const hub = await startHub(options)
  const home = path.join(folder, 'home')
  const env: NodeJS.ProcessEnv = {
    HF_ENDPOINT: hub.url,
    HF_HOME: home,
    HF_HUB_CACHE: '',
    HUGGINGFACE_HUB_CACHE: '',
    HF_TOKEN: '',
    HUGGING_FACE_HUB_TOKEN: '',
    HF_TOKEN_PATH: '',
    HF_HUB_OFFLINE: '',
    TRANSFORMERS_OFFLINE: '',
    TERGE_CACHE: path.join(home, 'terge'),
    HF_HUB_DOWNLOAD_TIMEOUT: '1',
    HF_HUB_ETAG_TIMEOUT: '5',
  }
  try {
    await work({
      hub,
      folder,
      cache: path.join(home, 'hub'),
      env,
      write(name, text) {
        writeFileSync(path.join(folder, name), text)
        return path.join(folder, name)
      },
      run: (args, more = {}) => terge(args, folder, { ...env, ...more }),
    })
  } finally {
    await hub.close()
  }
}

export const mean = (a: string, b: string): string =>
  `terge: 1\nmodels:\n  a: ${a}\n  b: ${b}\nmerge: {method: linear}\noutput: out\n`

/** All files in a folder: names, and the text of files without weights. */
export function everything(folder: string): { names: string[]; text: string } {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  const files = names.filter((name) => statSync(path.join(folder, name), { throwIfNoEntry: false })?.isFile())
  return { names, text: files.map((name) => readFileSync(path.join(folder, name), 'latin1')).join('\n') }
}
