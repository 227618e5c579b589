import path from 'node:path'
import { type Diagnostic, Fault } from '../core/diagnostics.js'
import { addressIn } from '../core/names/fileNames.js'
import { withPace } from '../execute/paced.js'
import { hubParts, s3Parts } from '../language/names.js'
import { checkFiles } from '../lineage/checkFiles.js'
import { exists, findLineage, sha256 } from '../lineage/disk.js'
import { compareLock } from '../lineage/lockedLineage.js'
import type { Lineage, LineageModel } from '../lineage/types.js'
import { loadRecipe } from '../recipe/load.js'
import { kindOf } from '../steps/index.js'
import { type ReproduceOptions, reproduce } from './proof/reproduce.js'
import { checkSignature, type SignatureOptions, signatureBeside } from './signing.js'

/** How to check an output against its lineage. */
export interface VerifyOptions extends ReproduceOptions, SignatureOptions {
  /** Run the recipe again and compare every byte. */
  readonly reproduce?: boolean
  /** The folder that the recipe's paths are relative to. Default: searched near the lineage and in the working folder. */
  readonly recipeFolder?: string
}

/** The result of `verify`. */
export interface Verified {
  /** True if `problems` has no errors. */
  readonly ok: boolean
  /** Errors for differences, and warnings for what could not be checked. */
  readonly problems: readonly Diagnostic[]
  /** What was read again. */
  readonly checked: { readonly files: number; readonly bytes: number }
  /** The folder that relative references were resolved in; absent if there are none. */
  readonly recipeFolder?: string
  /** With `reproduce`: whether the second run gave the same bytes. */
  readonly reproduced?: boolean
  /** Whether the signature and all signed files are right; absent if no signature was checked. */
  readonly signed?: boolean
  /** Whether signed provenance is right and about these files; absent if there is none, or nobody asked to check signatures. */
  readonly attested?: boolean
  /** Whether there is a lineage: a signature can be checked without one. */
  readonly lineage: boolean
}

/** Most folders between a lineage and the folder of its recipe. */
const HIGHEST = 4

/**
 * Checks that outputs and inputs on disk still match a lineage, given as its file, an output folder or a checkpoint file.
 * Differences are values in the result.
 *
 * @throws `missing-lineage` if there is no lineage, except where only a signature is checked
 * @throws `missing-signature` or `bad-signing-key` with `key` or `certificate`
 * @throws `bad-lineage` or `lineage-version` if the file is not a lineage that this version reads
 * @throws with `reproduce`, the errors of `plan` and `run`
 */
export const verify = (given: string, { listen, ...rest }: VerifyOptions = {}): Promise<Verified> =>
  withPace(listen, (listen) => verifyPaced(given, listen ? { ...rest, listen } : rest))

async function verifyPaced(given: string, options: VerifyOptions): Promise<Verified> {
  const asked = options.key !== undefined || options.certificate !== undefined || options.signature !== undefined
  const signature = asked ? await checkSignature(given, options, options) : undefined
  const signed = signature && {
    signed: signature.problems.length === 0,
    ...(signature.attested === undefined ? {} : { attested: signature.attested }),
  }
  const found = await findLineage(given).catch((error: unknown) => {
    const isMissing = error instanceof Fault && error.diagnostics.every(({ code }) => code === 'missing-lineage')
    if (!signature || !isMissing || options.reproduce) throw error
    return undefined
  })
  if (!found) {
    const { problems, files, bytes } = signature!
    return { ok: signed!.signed, problems, checked: { files, bytes }, ...signed, lineage: false }
  }
  const { file, lineage, digest } = found
  const folder = path.dirname(path.resolve(file))
  const recipeFolder = await findRecipeFolder(lineage, folder, options.recipeFolder)
  const places = await inputPlaces(lineage, recipeFolder ?? folder)
  const { problems, ...checked } = await checkFiles(lineage, folder, (model) => places.get(model), options)
  problems.unshift(...(signature?.problems ?? (await unchecked(given))))
  problems.push(...(await givenFiles(lineage, recipeFolder ?? folder, options.signal)))
  problems.push(...(await compareLock(lineage, [recipeFolder, folder, path.dirname(folder), process.cwd()])))
  const reproduced = options.reproduce
    ? await reproduce({ lineage, digest, folder, recipeFolder: recipeFolder ?? folder, problems, options })
    : undefined
  return {
    ok: problems.every((problem) => problem.severity !== 'error'),
    problems,
    checked,
    ...(recipeFolder === undefined ? {} : { recipeFolder }),
    ...(reproduced === undefined ? {} : { reproduced }),
    ...signed,
    lineage: true,
  }
}

/** A warning about a signature that nobody checks. */
async function unchecked(given: string): Promise<Diagnostic[]> {
  const place = await signatureBeside(given)
  if (place === undefined) return []
  const message = `${place} was not checked`
  return [
    { severity: 'warning', code: 'signature-unchecked', message, hint: 'give the public key of its signer: --key' },
  ]
}

/**
 * A lineage has references as in the recipe, but not the recipe's folder. Of the lineage's folder, the folders above it
 * and the working folder, chooses the first in which most references exist.
 */
async function findRecipeFolder(lineage: Lineage, folder: string, given?: string): Promise<string | undefined> {
  if (given !== undefined) return path.resolve(given)
  const references = Object.values(lineage.models)
    .map((model) => model.reference)
    .filter((reference) => addressIn(reference) === undefined && !path.isAbsolute(reference))
  if (references.length === 0) return undefined
  let best: { candidate: string; count: number } | undefined
  // An output such as out/name/t-0.500 lies below the folder of its recipe.
  const candidates = [folder]
  for (let depth = 0; depth < HIGHEST; depth++) candidates.push(path.dirname(candidates.at(-1)!))
  for (const candidate of [...candidates, process.cwd()]) {
    const there = await Promise.all(references.map((reference) => exists(path.resolve(candidate, reference))))
    const count = there.filter(Boolean).length
    if (!best || count > best.count) best = { candidate, count }
  }
  return best?.candidate
}

/** Differences of the files that steps read, such as permutations, and of configurations that the recipe gives. */
async function givenFiles({ steps, models }: Lineage, folder: string, signal?: AbortSignal): Promise<Diagnostic[]> {
  const problems: Diagnostic[] = []
  const hint = 'compare it with the file that the run read, or run the recipe again'
  const ofSteps = Object.values(steps).flatMap((record) =>
    record.kind === 'tokenizer' ? [] : (kindOf(record).recordedFiles?.(record) ?? []),
  )
  const configs = Object.values(models).flatMap(({ config = [] }) => config)
  for (const { file, sha256: wanted } of [...ofSteps, ...configs]) {
    const place = path.resolve(folder, file)
    const found = await sha256(place, signal).catch(() => undefined)
    if (found === wanted) continue
    const [code, what] =
      found === undefined
        ? (['input-missing', 'cannot be read'] as const)
        : (['input-digest', 'differs from the file that the run read'] as const)
    problems.push({ severity: 'error', code, message: `${file} ${what}`, hint })
  }
  return problems
}

/** The paths of a lineage's models on this machine. Models elsewhere that are not in the cache have none. */
async function inputPlaces(lineage: Lineage, folder: string): Promise<Map<LineageModel, string>> {
  // Only the recipe has the subfolder of a model.
  const { recipe } = loadRecipe(path.join(folder, 'recipe.yml'), { text: lineage.recipe.text, set: lineage.recipe.set })
  const places = new Map<LineageModel, string>()
  for (const [name, model] of Object.entries(lineage.models)) {
    const { subfolder = '' } = recipe?.models.get(name) ?? {}
    const hub = hubParts(model.reference)
    const s3 = s3Parts(model.reference)
    if (!hub && !s3) places.set(model, path.resolve(folder, model.reference, subfolder))
    else if (model.revision !== undefined && /^[0-9a-f]{40}$/.test(model.revision)) {
      const place = hub ? await hubPlace(hub.repository, model.revision, subfolder) : await s3Place(s3!, model)
      if (await exists(place)) places.set(model, place)
    }
  }
  return places
}

async function hubPlace(repository: string, commit: string, subfolder: string): Promise<string> {
  const { cachedPlace } = await import('../storage/hub/cache.js')
  return cachedPlace(repository, commit, subfolder)
}

/** A cached revision of a store is that of one model: its subfolder is part of it. */
async function s3Place({ bucket, key }: { bucket: string; key: string }, model: LineageModel): Promise<string> {
  const { cachedPlace } = await import('../storage/s3/cache.js')
  const place = await cachedPlace(bucket, model.revision!)
  const [file] = model.files
  return file && path.posix.basename(key) === file.name ? path.join(place, file.name) : place
}
