/** An index and the headers of the shards that it names. */
import { type Diagnostic, fault } from '../core/diagnostics.js'
import { quote } from '../core/suggest.js'
import type { FolderWeights } from './folder.js'
import type { CheckpointFile, StoredTensor } from './types.js'

/** Warns of copies of tensors, by name and file, that an index does not name. */
export function staleCopies(stale: ReadonlyMap<string, string>, { index }: FolderWeights, shown: string): Diagnostic {
  const [name, file] = [...stale][0]!
  const what = stale.size === 1 ? 'a copy of one tensor' : `copies of ${stale.size} tensors`
  return {
    severity: 'warning',
    code: 'duplicate-tensor',
    message: `${shown}: ${what} in other files than ${index!.name} names, such as ${quote(name)} in ${file}: not read`,
    hint: 'other libraries may read the copy that comes last: write the model anew without it',
  }
}

/** Warns of an index of other files beside a single one that holds a whole model. */
export const twoModels = (index: string, single: string, shown: string): Diagnostic => ({
  severity: 'warning',
  code: 'duplicate-tensor',
  message: `${shown}: ${single} is read, and the files that ${index} names are not: the folder holds the model twice`,
  hint: 'other programs may read the files of the index: remove what is out of date',
})

/** The index and the shards' headers must tell the same. */
export function checkIndex(
  { index }: FolderWeights,
  tensors: ReadonlyMap<string, StoredTensor>,
  stale: ReadonlyMap<string, string>,
  files: readonly CheckpointFile[],
  inside: (name: string) => string,
  shown: string,
): void {
  if (!index) return
  const hint = `${index.name} and the files do not belong together: fetch the checkpoint again`
  for (const [name, file] of index.map) {
    const tensor = tensors.get(name)
    const actual = tensor && files[tensor.file]!.name
    if (actual === inside(file)) continue
    const other = stale.get(name)
    const instead = other === undefined ? '' : `, it is in ${inside(other)}`
    throw fault(
      'missing-tensor',
      `${shown}: tensor ${quote(name)} is not in ${file}, where the index has it${instead}`,
      hint,
    )
  }
  for (const [name, tensor] of tensors)
    if (!index.map.has(name))
      throw fault(
        'unlisted-tensor',
        `${shown}: tensor ${quote(name)} of ${files[tensor.file]!.name} is not in the index`,
        hint,
      )
}
