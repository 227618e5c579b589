/** Checks that the models on disk are those of a lock. */
import path from 'node:path'
import { isSidecar, isWeights } from '../../checkpoints/sidecarNames.js'
import type { Diagnostic } from '../../core/diagnostics.js'
import type { Sums } from '../../execute/hashing/sums.js'
import { type CheckOptions, checkFiles } from '../../lineage/checkFiles.js'
import type { LockedFile, LockedModel } from '../../lineage/lock.js'
import type { Lineage, LineageModel } from '../../lineage/types.js'
import { type CheckedSignature, checkSignature, type SignatureOptions } from '../signing.js'
import { inputSignatures } from './inputSignatures.js'
import { placeOfModel } from './places.js'
import { readSignedLock, trustIn, uncheckedLock } from './signedLock.js'
import type { InputSignature } from './trust.js'

/** Whether a path is that of a lock, as `terge lock` names it. */
export const isLock = (file: string): boolean => /\.ya?ml\.lock$/.test(file)

export interface VerifiedLock {
  readonly problems: readonly Diagnostic[]
  readonly checked: { readonly files: number; readonly bytes: number }
  /** Whether its signature is right; absent if nobody asked. */
  readonly signed?: boolean
  /** With a key or certificates: what became of the signature of each model. */
  readonly inputs?: Readonly<Record<string, InputSignature>>
}

/** Errors: those of reading the lock and of its signature. Differences of models are values. `folder`: that of the recipe. */
export async function verifyLock(
  file: string,
  options: SignatureOptions & CheckOptions & { readonly sums: Sums },
  folder = path.dirname(path.resolve(file)),
): Promise<VerifiedLock> {
  const trust = trustIn(options)
  const signature = trust ? await checkSignature(file, options, options) : undefined
  const isSigned = signature && signature.problems.length === 0
  const lock = await readSignedLock(file, isSigned && options.signature === undefined ? trust : undefined)
  const places = new Map<LineageModel, string>()
  const models: Record<string, LineageModel> = {}
  for (const [index, [name, locked]] of Object.entries(lock.models).entries()) {
    const model = modelOf(locked, index)
    models[name] = model
    const place = await placeOfModel(folder, { ...model, revision: locked.commit }, locked.subfolder)
    if (place !== undefined) places.set(model, place)
  }
  const { problems, files, bytes } = await checkFiles(
    { models, tensors: {}, output: NOTHING },
    folder,
    (model) => places.get(model),
    options,
  )
  const unsigned: readonly Diagnostic[] =
    (signature satisfies CheckedSignature | undefined)?.problems ?? (await uncheckedLock(file))
  const ofInputs = await inputSignatures(models, (model) => places.get(model), trust, options)
  return {
    problems: [...unsigned, ...problems, ...ofInputs.problems],
    checked: { files, bytes },
    ...(ofInputs.inputs ? { inputs: ofInputs.inputs } : {}),
    ...(signature ? { signed: isSigned === true } : {}),
  }
}

const NOTHING: Lineage['output'] = { from: '', dropped: true, files: [], tensors: 0, digest: null }

/** The files of a locked model, as a lineage has them. Older locks have small files that terge does not read. */
function modelOf({ reference, files }: LockedModel, index: number): LineageModel {
  const isWeight = ({ name }: LockedFile): boolean => isWeights(path.posix.basename(name))
  const isSmall = ({ name }: LockedFile): boolean => name === 'config.json' || isSidecar(path.posix.basename(name))
  return {
    index,
    reference,
    files: files.filter(isWeight),
    beside: files.filter((file) => !isWeight(file) && isSmall(file)),
  }
}
