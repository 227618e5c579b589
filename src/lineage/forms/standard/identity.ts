/** What standard formats call models and files: package URLs, addresses, digests. */
import { hubParts, s3Parts } from '../../../language/names.js'
import type { Lineage, LineageFile, LineageModel } from '../../types.js'

/** A part of an address. Halves of characters, which damaged names have, become the mark for what is no character. */
export const addressPart = (text: string): string => encodeURIComponent(Buffer.from(text).toString())

/** The commit of a model on the hub, in lower case. Undefined for other models and other revisions. */
export function commitOf({ reference, revision }: Pick<LineageModel, 'reference' | 'revision'>): string | undefined {
  const commit = revision?.toLowerCase()
  return hubParts(reference) && commit !== undefined && /^[0-9a-f]{40}$/.test(commit) ? commit : undefined
}

/** `org/name` of a model on the hub. */
export const repositoryOf = ({ reference }: Pick<LineageModel, 'reference'>): string | undefined =>
  hubParts(reference)?.repository

/** The package URL of a model on the hub. Names stay as they are, because the hub distinguishes case. */
export function purlOf(model: Pick<LineageModel, 'reference' | 'revision'>): string | undefined {
  const repository = repositoryOf(model)
  if (repository === undefined) return undefined
  const commit = commitOf(model)
  const name = repository.split('/').map(addressPart).join('/')
  return `pkg:huggingface/${name}${commit === undefined ? '' : `@${commit}`}`
}

/** The page of a model on the hub, or its address in a store. */
export function addressOf(model: Pick<LineageModel, 'reference' | 'revision'>): string | undefined {
  const repository = repositoryOf(model)
  if (repository !== undefined) {
    const commit = commitOf(model)
    return `https://huggingface.co/${repository}${commit === undefined ? '' : `/tree/${commit}`}`
  }
  const s3 = s3Parts(model.reference)
  return s3 && `s3://${s3.bucket}/${s3.key.split('/').map(addressPart).join('/')}`
}

/** The address of a file of a model on the hub. */
export function fileAddress(model: Pick<LineageModel, 'reference' | 'revision'>, name: string): string | undefined {
  const repository = repositoryOf(model)
  const commit = commitOf(model)
  if (repository === undefined || commit === undefined) return undefined
  return `https://huggingface.co/${repository}/resolve/${commit}/${name.split('/').map(addressPart).join('/')}`
}

/** The SHA-256 of a whole file, 64 hexadecimal digits; undefined if the lineage does not have it. */
export function sha256Of({ sha256, digest }: Pick<LineageFile, 'sha256' | 'digest'>): string | undefined {
  const found = sha256 ?? (digest?.startsWith('sha256:') ? digest : undefined)
  return found?.slice('sha256:'.length)
}

/** The models that the output was made from, in the order of the recipe. */
export function modelsOfOutput({ models, output }: Pick<Lineage, 'models' | 'output'>): [string, LineageModel][] {
  const used = output.models && new Set(output.models)
  return modelsInOrder({ models }).filter(([name]) => used?.has(name) ?? true)
}

/** All models that the run read, in the order of the recipe. */
export const modelsInOrder = ({ models }: Pick<Lineage, 'models'>): [name: string, model: LineageModel][] =>
  Object.entries(models).sort(([, a], [, b]) => a.index - b.index)

/** All files of an input that the run read, each once: with tensors, then small ones. */
export function filesRead({ files, beside = [] }: Pick<LineageModel, 'files' | 'beside'>): LineageFile[] {
  const names = new Set(files.map(({ name }) => name))
  return [...files, ...beside.filter(({ name }) => !names.has(name))]
}

/** The npm package that made a lineage. */
export const builderOf = ({ terge }: Pick<Lineage, 'terge'>): string => `pkg:npm/terge@${addressPart(terge)}`

/** The files of outputs and inputs without a SHA-256, as `NAME` and `MODEL: NAME`. */
export const unhashed = ({ output, models }: Pick<Lineage, 'output' | 'models'>): string[] => [
  ...output.files.filter((file) => sha256Of(file) === undefined).map(({ name }) => name),
  ...Object.entries(models).flatMap(([name, model]) =>
    filesRead(model)
      .filter((file) => sha256Of(file) === undefined)
      .map((file) => `${name}: ${file.name}`),
  ),
]
