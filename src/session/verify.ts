import { availableParallelism } from 'node:os'
import path from 'node:path'
import { type Diagnostic, Fault, fault } from '../core/diagnostics.js'
import { openSums, type Sums } from '../execute/hashing/sums.js'
import { withPace } from '../execute/paced.js'
import { checkFiles } from '../lineage/checkFiles.js'
import { findLineage, isOfAnyKind, sha256 } from '../lineage/disk.js'
import { compareLock } from '../lineage/lockedLineage.js'
import type { Lineage } from '../lineage/types.js'
import { kindOf } from '../steps/index.js'
import { inputSignatures, unchecked } from './proof/inputSignatures.js'
import { findRecipeFolder, inputPlaces } from './proof/places.js'
import { type ReproduceOptions, reproduce } from './proof/reproduce.js'
import { trustIn } from './proof/signedLock.js'
import type { InputSignature } from './proof/trust.js'
import { isLock, verifyLock } from './proof/verifyLock.js'
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
  /**
   * With `key` or `certificate`: what became of the signature of each model that the lineage or the lock lists. `valid`: the key has signed
   * all files that the run read. `unchecked`: signed by somebody else. `missing`: not on this machine.
   */
  readonly inputs?: Readonly<Record<string, InputSignature>>
  /** Whether signed provenance is right and about these files; absent if there is none, or nobody asked to check signatures. */
  readonly attested?: boolean
  /** Whether there is a lineage: a signature can be checked without one. */
  readonly lineage: boolean
}

/**
 * Checks that outputs and inputs on disk still match a lineage, given as its file, an output folder or a checkpoint file.
 * Or checks that models on disk still match a lock. Differences are values in the result.
 *
 * @throws `missing-lineage` if there is no lineage, except where only a signature is checked
 * @throws `missing-lock` or `bad-lock` for a lock
 * @throws `missing-signature` or `bad-signing-key` with `key` or `certificate`
 * @throws `bad-lineage` or `lineage-version` if the file is not a lineage that this version reads
 * @throws with `reproduce`, the errors of `plan` and `run`
 */
export const verify = (given: string, { listen, ...rest }: VerifyOptions = {}): Promise<Verified> =>
  withPace(listen, async (listen) => {
    const options = listen ? { ...rest, listen } : rest
    const sums = openSums({ threads: rest.threads ?? availableParallelism(), signal: rest.signal })
    try {
      return isLock(given)
        ? await verifyLocked(given, { ...options, sums })
        : await verifyPaced(given, { ...options, sums })
    } finally {
      await sums.close()
    }
  })

/** Checks the models of a lock, and its signature. */
async function verifyLocked(given: string, options: VerifyOptions & { readonly sums: Sums }): Promise<Verified> {
  if (options.reproduce)
    throw fault('contradiction', `${given} is a lock: only outputs can be reproduced`, 'remove --reproduce')
  const folder = options.recipeFolder === undefined ? undefined : path.resolve(options.recipeFolder)
  const found = await verifyLock(given, options, folder)
  return { ok: found.problems.every(({ severity }) => severity !== 'error'), ...found, lineage: false }
}

async function verifyPaced(given: string, options: VerifyOptions & { readonly sums: Sums }): Promise<Verified> {
  const asked = [options.key, options.certificate, options.signature, options.ignore].some((one) => one !== undefined)
  const signature = asked ? await checkSignature(given, options, options) : undefined
  const signed = signature && {
    signed: signature.problems.length === 0,
    ...(signature.attested === undefined ? {} : { attested: signature.attested }),
  }
  const found = await findLineage(given).catch((error: unknown) => {
    // A signed file need not be one that terge knows.
    const none = isOfAnyKind(given) ? ['missing-lineage', 'bad-lineage'] : ['missing-lineage']
    const isMissing = error instanceof Fault && error.diagnostics.every(({ code }) => none.includes(code))
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
  problems.unshift(...(signature?.problems ?? (await uncheckedModel(given))))
  const ofInputs = await inputSignatures(lineage.models, (model) => places.get(model), trustIn(options), options)
  problems.push(...ofInputs.problems)
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
    ...(ofInputs.inputs ? { inputs: ofInputs.inputs } : {}),
    lineage: true,
  }
}

/** A warning if nobody checks the signature of the model itself. */
async function uncheckedModel(given: string): Promise<Diagnostic[]> {
  const place = await signatureBeside(given)
  return place === undefined ? [] : [unchecked(`${place} was not checked`)]
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
