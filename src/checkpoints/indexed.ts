/** Compares an index with the headers of its shards. */
import { type Diagnostic, type Fault, fault } from '../core/diagnostics.js'
import { quote } from '../core/suggest.js'
import type { FolderWeights } from './folder.js'
import type { CheckpointFile, StoredTensor } from './types.js'

/** Warning about copies of tensors that an index does not list. `stale` maps tensor names to files. */
export function staleCopies(stale: ReadonlyMap<string, string>, { index }: FolderWeights, shown: string): Diagnostic {
  const [name, file] = [...stale][0]!
  const what = stale.size === 1 ? 'a copy of one tensor' : `copies of ${stale.size} tensors`
  return {
    severity: 'warning',
    code: 'duplicate-tensor',
    message: `${shown}: skips ${what} that ${index!.name} does not list, such as ${quote(name)} in ${file}`,
    hint: 'other libraries may read the copy that comes last: save the model again without the copies',
  }
}

/** Warning about a file with a whole model beside an index of other files. */
export const twoModels = (index: string, single: string, shown: string): Diagnostic => ({
  severity: 'warning',
  code: 'duplicate-tensor',
  message: `${shown}: the folder holds the model twice: terge reads ${single} and skips the files that ${index} lists`,
  hint: 'other programs may read the files in the index: remove the outdated files',
})

/** Warning about safetensors files beside a model in another form. `described`: that form. */
export const twoForms = (described: string, shown: string): Diagnostic => ({
  severity: 'warning',
  code: 'duplicate-tensor',
  message: `${shown}: the folder holds the model twice: terge reads the safetensors files and skips ${described}`,
  hint: 'if they differ, move the files that you do not want to another folder',
})

/** What the headers of an index's files have. */
export interface Headers {
  /** By name, with the prefix of their module. */
  readonly tensors: ReadonlyMap<string, StoredTensor>
  /** Those that the index does not list. */
  readonly unlisted: readonly StoredTensor[]
  readonly prefix: string
  /** Files of copies that the index lists in another file, by tensor. */
  readonly stale: ReadonlyMap<string, string>
  readonly files: readonly CheckpointFile[]
  /** The name of a file in the checkpoint. */
  readonly inside: (file: string) => string
  readonly shown: string
}

/** How an index and the headers of its files differ: error `missing-tensor` or `unlisted-tensor`. */
export function misfit(
  index: NonNullable<FolderWeights['index']>,
  { tensors, unlisted, prefix, stale, files, inside, shown }: Headers,
): Fault {
  const hint = `${index.name} and the files do not match: download the checkpoint again`
  for (const [name, file] of index.map) {
    const tensor = tensors.get(`${prefix}${name}`)
    const actual = tensor && files[tensor.file]!.name
    if (actual === inside(file)) continue
    const other = stale.get(name)
    const instead = other === undefined ? '' : `; it is in ${inside(other)}`
    return fault(
      'missing-tensor',
      `${shown}: tensor ${quote(name)} is not in ${file}, where the index lists it${instead}`,
      hint,
    )
  }
  const { name, file } = unlisted[0]!
  return fault(
    'unlisted-tensor',
    `${shown}: tensor ${quote(name.slice(prefix.length))} of ${files[file]!.name} is not in the index`,
    hint,
  )
}
