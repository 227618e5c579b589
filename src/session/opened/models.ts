/** Opens a recipe's models from disk, hub or store, downloads them, and checks their digests. */

import { stat } from 'node:fs/promises'
import path from 'node:path'
import { openCheckpoint } from '../../checkpoints/open.js'
import type { RemoteModel } from '../../checkpoints/remote/model.js'
import { readConfigFile } from '../../checkpoints/sidecars.js'
import { makeGate } from '../../core/collections/gate.js'
import { type Diagnostic, Fault, fault } from '../../core/diagnostics.js'
import { sha256 } from '../../core/digest.js'
import { formatSize } from '../../core/sizes.js'
import { didYouMean, quote } from '../../core/suggest.js'
import { byteProgress } from '../../execute/byteProgress.js'
import type { Listener } from '../../execute/events.js'
import type { Sums } from '../../execute/hashing/sums.js'
import { interruptedDownload } from '../../execute/interrupted.js'
import { hubParts, originOf, s3Parts, s3Problem } from '../../language/names.js'
import type { ModelSource, Path } from '../../language/types.js'
import { exists, foldersIn, sha256 as sha256OfFile } from '../../lineage/disk.js'
import type { InputRecords } from '../../lineage/types.js'
import type { Recipe } from '../../recipe/types.js'
import type { Locate } from '../../steps/types.js'
import { leadsDown } from '../../storage/leadsDown.js'
import { boundsOf } from '../../storage/local/regular.js'
import type { Fetch } from '../../storage/remote/types.js'
import { recordsBeside } from '../history/records.js'
import { givenFolder } from './givenFolder.js'

/** An opened model. `fetches`: the files that are still to be downloaded. */
export interface OpenedModel extends RemoteModel {
  /** What lies beside it. */
  readonly records?: InputRecords
}

/** What a lock or a lineage already says about a model. */
export interface Pin {
  readonly commit?: string | undefined
  /** Small files that it must have. */
  readonly expected?: readonly string[]
  /** Names of files with tensors, and their SHA-256, 64 hexadecimal digits. */
  readonly pinned?: readonly (readonly [string, string])[]
}

type Named = Pick<ModelSource, 'reference' | 'origin' | 'revision' | 'subfolder' | 'companion' | 'sha256'>

/** Opens a model's headers. Errors: those of `openCheckpoint`, `openHub` and `openS3`. */
async function openModel(source: Named, locate: Locate, pin: Pin = {}): Promise<OpenedModel> {
  const { reference, origin, subfolder } = source
  const adapter = source.companion === 'lora'
  if (origin === 'hub') {
    const { repository, revision = source.revision } = hubParts(reference) ?? { repository: reference }
    // Loaded only for recipes with hub models.
    const { openHub } = await import('../../checkpoints/remote/hub.js')
    const { commit, expected } = pin
    return openHub({ reference, repository, revision, subfolder, adapter, commit, expected })
  }
  if (origin === 's3') {
    const { openS3 } = await import('../../checkpoints/remote/s3.js')
    const { sha256 } = source
    return openS3({ reference, ...s3Parts(reference)!, subfolder, adapter, sha256, pinned: new Map(pin.pinned) })
  }
  if (subfolder !== undefined && !leadsDown(subfolder.replace(/^\.\/+|\/+$/g, '')))
    throw fault(
      'path-escape',
      `${reference}: ${quote(subfolder)} is not a folder in the model`,
      'write a path below the model, without ..',
    )
  const place = path.join(locate(reference), subfolder ?? '')
  const checkpoint = await openCheckpoint(reference, place, { adapter })
  return { checkpoint, fetches: [], warnings: checkpoint.warnings ?? [] }
}

async function withRecords(model: OpenedModel): Promise<OpenedModel> {
  const { records, warnings } = await recordsBeside(model.checkpoint)
  return { ...model, records, warnings: [...model.warnings, ...warnings] }
}

/** A model of the command line: a path, relative to the working folder, `hf:org/name@revision`, or `s3://bucket/prefix`. */
export function openNamed(reference: string): Promise<OpenedModel> {
  const origin = originOf(reference)
  if (origin === 'hub' && !hubParts(reference))
    throw fault('bad-value', `${quote(reference)} is not a hub reference`, 'write hf:org/name or hf:org/name@revision')
  if (origin === 's3' && !s3Parts(reference))
    throw fault('bad-value', `${quote(reference)} ${s3Problem(reference).problem}`, s3Problem(reference).hint)
  return openModel({ reference, origin }, (written) => path.resolve(written))
}

/** Adds the place in the recipe to errors without a place. */
export function placed(recipe: Recipe, at: Path, { diagnostics, exit }: Fault): Fault {
  const place = recipe.placeOf(at, 'value')
  return new Fault(
    diagnostics.map((diagnostic) => ({ ...diagnostic, ...(diagnostic.place || !place ? {} : { place }) })),
    exit,
  )
}

/** Opens a model of a recipe. Returns errors as values, with the model's place. */
export interface OpenedSource {
  readonly name: string
  readonly model?: OpenedModel
  readonly diagnostics: readonly Diagnostic[]
}

export type OpenModel = (recipe: Recipe, name: string) => Promise<OpenedSource>

/** Each model that is being opened has a few files open, and a recipe can have hundreds of models. */
const OPENING = 8

/** Opens models of recipes, each one once. `pinOf`: what a lock or a lineage says about a model. */
export function makeOpener(pinOf: (model: string) => Pin = () => ({})): OpenModel {
  const opened = new Map<string, Promise<OpenedModel>>()
  const gate = makeGate(OPENING)
  return async (recipe, name) => {
    const source = recipe.models.get(name)!
    const { reference, origin, revision, subfolder, companion } = source
    const pin = pinOf(name)
    const sum = origin === 's3' ? source.sha256 : undefined
    const key = JSON.stringify([recipe.folder, reference, origin, revision, subfolder, companion, sum, pin])
    try {
      await checkSubfolder(recipe, source)
      const found = opened.get(key) ?? gate(() => openModel(source, recipe.locate, pin).then(withRecords))
      opened.set(key, found)
      const model = await configured(recipe, source, await found)
      checkPublished(recipe, source, model)
      return { name, model, diagnostics: placed(recipe, source.at, new Fault(model.warnings)).diagnostics }
    } catch (error) {
      if (!(error instanceof Fault)) throw error
      return { name, diagnostics: placed(recipe, source.at, error).diagnostics }
    }
  }
}

/** The model with the configuration that its recipe gives it. Errors: `contradiction` if it has one, those of `readConfigFile`. */
async function configured(
  recipe: Recipe,
  { config: file, at, name }: ModelSource,
  model: OpenedModel,
): Promise<OpenedModel> {
  if (file === undefined) return model
  const where = [...at, 'config']
  const { checkpoint } = model
  if (checkpoint.config || checkpoint.modules)
    throw placed(
      recipe,
      where,
      fault('contradiction', `the model ${quote(name)} has its own config.json`, 'remove config, or change that file'),
    )
  const place = recipe.locate(file)
  try {
    if ((await stat(place)).isDirectory()) {
      const given = await givenFolder(place, file)
      const configFiles = [...given.texts].map(([name, text]) => ({
        ...{ file: path.posix.join(file, name), path: path.join(place, name), sha256: sha256(text) },
      }))
      return { ...model, checkpoint: { ...checkpoint, given, configFiles } }
    }
    const { config, text } = await readConfigFile(place, file, await boundsOf(path.dirname(place)))
    const configFiles = [{ file, path: place, sha256: await sha256OfFile(place) }]
    return { ...model, checkpoint: { ...checkpoint, config, configText: text, newConfig: true, configFiles } }
  } catch (error) {
    if (error instanceof Fault) throw placed(recipe, where, error)
    const missing = fault(
      'missing-model',
      `${file}: there is no such file or folder`,
      'write the path of a config.json, or of a folder with small files, relative to the recipe',
    )
    throw (error as NodeJS.ErrnoException).code === 'ENOENT' ? placed(recipe, where, missing) : error
  }
}

/** Reports a subfolder that does not exist in a model that does. Error: `missing-model`. */
async function checkSubfolder(recipe: Recipe, { origin, reference, subfolder, at }: ModelSource): Promise<void> {
  if (origin !== 'path' || subfolder === undefined || !leadsDown(subfolder.replace(/^\.\/+|\/+$/g, ''))) return
  const model = recipe.locate(reference)
  if ((await exists(path.join(model, subfolder))) || !(await exists(model))) return
  const folders = await foldersIn(model)
  throw placed(
    recipe,
    [...at, 'subfolder'],
    fault(
      'missing-model',
      `${reference} has no folder ${quote(subfolder)}`,
      didYouMean(subfolder, folders, 'its folders') ?? 'the model has no folders: remove subfolder',
    ),
  )
}

const sumDiffers = (reference: string, written: string, found: string, exit: 1 | 2): Fault =>
  fault(
    'sha256-differs',
    `${reference}: SHA-256 is ${found}, but the recipe says ${written}`,
    'wrong file: download it again, or check what changed and update sha256',
    exit,
  )

/** Checks a model's `sha256` as far as possible before its file is downloaded or read. */
function checkPublished(
  recipe: Recipe,
  { sha256, at, reference }: ModelSource,
  { checkpoint, fetches }: OpenedModel,
): void {
  if (sha256 === undefined) return
  const where = [...at, 'sha256']
  if (checkpoint.files.length > 1)
    throw placed(
      recipe,
      where,
      fault(
        'bad-value',
        `${reference}: sha256 applies to one file, but the model has ${checkpoint.files.length}`,
        'remove sha256 and pin the model with terge lock',
      ),
    )
  const published = fetches[0]?.file.sha256
  if (published !== undefined && published !== sha256)
    throw placed(recipe, where, sumDiffers(reference, sha256, published, 2))
}

/** How models that are not on this machine are downloaded. */
export interface FetchOptions {
  /** Called with the progress of downloads, as events. */
  readonly listen?: Listener | undefined
  /** Ends the work early. The promise then rejects with the error `interrupted`. */
  readonly signal?: AbortSignal | undefined
}

/** How whole files are hashed. */
export interface CheckSumOptions extends FetchOptions {
  /** What else is hashed. Default: only this file. */
  readonly sums?: Sums | undefined
}

/** Downloads all missing weights into the cache. Errors: those of `download`, with the model's place. */
export async function fetchModels(
  models: Iterable<readonly [string, OpenedModel]>,
  { listen, signal }: FetchOptions = {},
  recipe?: Recipe,
): Promise<void> {
  const owner = new Map<Fetch, string>()
  for (const [name, { fetches }] of models) for (const fetch of fetches) owner.set(fetch, name)
  if (owner.size === 0) return
  const { download } = await import('../../storage/remote/download.js')
  await download([...owner.keys()], {
    signal,
    progress: (done, total) =>
      listen?.({
        kind: 'step',
        step: 'fetch',
        text: `downloaded ${formatSize(done)} of ${formatSize(total)}`,
        fraction: total > 0 ? Math.min(1, done / total) : 1,
        bytes: { done: Math.min(done, total), total },
      }),
    blame(fetch, error) {
      const source = recipe?.models.get(owner.get(fetch)!)
      return recipe && source && error instanceof Fault ? placed(recipe, source.at, error) : error
    },
  }).catch((error: unknown) => {
    throw signal?.aborted ? interruptedDownload() : error
  })
}

/** Checks the `sha256` values of a recipe, except for files that were checked during their download. Error: `sha256-differs`. */
export async function checkSums(
  recipe: Recipe,
  models: ReadonlyMap<string, OpenedModel>,
  options: CheckSumOptions = {},
): Promise<void> {
  for (const [name, model] of models) {
    const [file] = model.checkpoint.files
    if (file) await checkSum(recipe, name, model, file.path, options)
  }
}

async function hashed(sums: Sums, place: string, listen: Listener | undefined): Promise<string> {
  await sums.settle([place], listen)
  return sums.of(place)
}

/** The same for one model, whose file is at `place`. */
export async function checkSum(
  recipe: Recipe,
  name: string,
  { checkpoint, fetches }: OpenedModel,
  place: string,
  { listen, signal, sums }: CheckSumOptions = {},
): Promise<void> {
  const { sha256, at, reference } = recipe.models.get(name)!
  const [file] = checkpoint.files
  if (sha256 === undefined || !file || fetches[0]?.file.sha256 !== undefined) return
  const found = (await (sums ? hashed(sums, place, listen) : read())).replace(/^sha256:/, '')
  if (found !== sha256) throw placed(recipe, [...at, 'sha256'], sumDiffers(reference, sha256, found, 2))

  async function read(): Promise<string> {
    const progress = byteProgress(listen, 'sha256', file!.size)
    const text = `reading ${reference}`
    const sum = await sha256OfFile(place, signal, (bytes) => progress.add(bytes, text))
    progress.end(text)
    return sum
  }
}
