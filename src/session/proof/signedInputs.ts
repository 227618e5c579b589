/** Inputs that must be signed: every file that a run reads of them is in a signed list, with its SHA-256. */
import { access } from 'node:fs/promises'
import path from 'node:path'
import { ADAPTER_CONFIG } from '../../checkpoints/sidecars.js'
import type { Checkpoint } from '../../checkpoints/types.js'
import { type Diagnostic, Fault, fault } from '../../core/diagnostics.js'
import { quote } from '../../core/suggest.js'
import type { Listener } from '../../execute/events.js'
import type { HasherOptions } from '../../execute/hashing/hasher.js'
import { openSums, type Sums } from '../../execute/hashing/sums.js'
import type { FileSum } from '../../lineage/build.js'
import type { Plan } from '../../plan/types.js'
import type { Recipe } from '../../recipe/types.js'
import { boundsOf } from '../../storage/local/regular.js'
import { adapterFile } from '../opened/adapterFile.js'
import { smallFilesOf } from '../opened/inputs.js'
import { type OpenedModel, placed } from '../opened/models.js'
import { signedList } from '../signing.js'
import { publishedSums } from '../sums/published.js'
import type { SignedInputs, Trust } from './trust.js'

interface Planned {
  readonly plan: Plan
  readonly recipe: Recipe
  readonly models: ReadonlyMap<string, OpenedModel>
}

/** Files that say where a model came from. They can be in its lineage. */
export const RECORDS = ['README.md', 'lineage.json']

/**
 * Checks the signatures of a plan's models, and their small files. Errors, with the models' places: `missing-signature`, `bad-signature`,
 * `signed-files`; `bad-signing-key`.
 */
export async function signedInputs({ plan, recipe, models }: Planned, trust: Trust): Promise<SignedInputs> {
  const found = new Map<string, ReadonlyMap<string, string>>()
  const problems: Diagnostic[] = []
  const sums = openSums({ threads: 1 })
  try {
    for (const [index, { name }] of plan.models.entries()) {
      const { checkpoint } = models.get(name)!
      try {
        const manifest = await signedList(signedModelOf(checkpoint), trust, checkpoint.reference)
        const { method, hash } = manifest.serialization
        if (method !== 'files' || hash !== 'sha256')
          throw fault(
            'signed-files',
            `${checkpoint.reference}: its signature has no SHA-256 of whole files`,
            'ask its signer for a signature by files and SHA-256, which is what model_signing makes by default',
          )
        const signed = new Map(manifest.resources.map(({ name, digest }) => [name, digest]))
        if (signed.size !== manifest.resources.length)
          throw fault('signed-files', `${checkpoint.reference}: its signature lists a file twice`, 'ask its signer')
        found.set(name, signed)
        await checkSmall(plan, index, checkpoint, signed, sums)
      } catch (error) {
        if (!(error instanceof Fault)) throw error
        problems.push(...placed(recipe, recipe.models.get(name)!.at, error).diagnostics)
      }
    }
  } finally {
    await sums.close()
  }
  if (problems.length > 0) throw new Fault(problems)
  return found
}

/** A single file is signed beside it, and a folder in it. */
const signedModelOf = ({ layout, path: place }: Checkpoint) => ({ place, isFile: layout === 'file' })

/** Checks the small files that planning has read, or that an output copies. Error: `signed-files`. */
async function checkSmall(
  plan: Plan,
  index: number,
  checkpoint: Checkpoint,
  signed: ReadonlyMap<string, string>,
  sums: Sums,
): Promise<void> {
  if (signedModelOf(checkpoint).isFile) return
  const folder = checkpoint.path
  const within = await boundsOf(folder)
  const names = (await smallFilesOf(plan, index, checkpoint)).map(({ name }) => name)
  // What the signer did not sign of these changes no weights.
  const records = RECORDS.filter((name) => signed.has(name))
  const all = new Set([...names, ...records, ...(adapterFile(checkpoint) ? [ADAPTER_CONFIG] : [])])
  for (const name of all) {
    const place = path.join(folder, ...name.split('/'))
    if (!(await isThere(place))) continue
    refuseOther(checkpoint.reference, name, await sums.of(place, within), signed.get(name), 2)
  }
}

const isThere = (place: string): Promise<boolean> =>
  access(place).then(
    () => true,
    () => false,
  )

function refuseOther(reference: string, name: string, sum: string, signed: string | undefined, exit: 1 | 2): void {
  if (`sha256:${signed}` === sum) return
  throw fault(
    'signed-files',
    signed === undefined
      ? `${reference}: ${quote(name)} is not in the signed list of files`
      : `${reference}: ${quote(name)} differs from the file that was signed`,
    'get the model again, or ask its signer',
    exit,
  )
}

/** The signed SHA-256 of a file with tensors. */
const signedSum = (
  { plan, models }: Pick<Planned, 'plan' | 'models'>,
  signed: SignedInputs,
  file: number,
): string | undefined => {
  const { model, name } = plan.files[file]!
  const { name: modelName } = plan.models[model]!
  const { isFile } = signedModelOf(models.get(modelName)!.checkpoint)
  return signed.get(modelName)?.get(isFile ? '.' : name)
}

/** Compares files with tensors, by `Plan.files`, with what was signed. Those whose SHA-256 is not known are skipped. Error: `signed-files`. */
export function refuseUnsigned(
  prepared: Planned & { readonly signed?: SignedInputs | undefined },
  sums: readonly (Pick<FileSum, 'sha256'> | undefined)[],
  exit: 1 | 2,
): void {
  const { plan, signed } = prepared
  if (!signed) return
  for (const [file, { model, name }] of plan.files.entries()) {
    const { sha256 } = sums[file] ?? {}
    const { reference } = plan.models[model]!
    if (sha256 !== undefined) refuseOther(reference, name, sha256, signedSum(prepared, signed, file), exit)
  }
}

/** Hashes files with tensors before a run reads them, and compares them. Files that come later count by what the hub publishes. */
export async function checkSignedWeights(
  prepared: Planned & {
    readonly bindings: { readonly files: readonly string[] }
    readonly signed?: SignedInputs | undefined
  },
  isHere: (file: number) => boolean,
  {
    sums,
    threads,
    listen,
    signal,
  }: { readonly sums?: Sums | undefined } & HasherOptions & { readonly listen: Listener },
): Promise<void> {
  if (!prepared.signed) return
  const own = sums ?? openSums({ threads, signal })
  try {
    await compareWeights(prepared, isHere, own, listen)
  } finally {
    if (!sums) await own.close()
  }
}

async function compareWeights(
  prepared: Parameters<typeof checkSignedWeights>[0],
  isHere: (file: number) => boolean,
  sums: Sums,
  listen: Listener,
): Promise<void> {
  const places = prepared.bindings.files
  const published = await publishedSums(prepared)
  await sums.settle([...new Set(places.filter((_, file) => isHere(file)))], listen)
  const found: ({ sha256: string } | undefined)[] = []
  for (const [file, place] of places.entries()) {
    const sum = published[file]
    found[file] = isHere(file)
      ? { sha256: await sums.of(place) }
      : sum === undefined
        ? undefined
        : { sha256: `sha256:${sum}` }
  }
  refuseUnsigned(prepared, found, 2)
}
