/** Whether the lineage beside an input is about the files that its child read. Digests were recorded by two runs, and are compared. */
import type { Lineage, LineageFile, LineageModel } from '../types.js'

/** A SHA-256 is the same however it was recorded. */
const sumOf = ({ sha256, digest }: LineageFile): string | undefined =>
  sha256 ?? (digest?.startsWith('sha256:') ? digest : undefined)

/** Whether two records are of the same file; undefined if they have no digest in common. */
function sameFile(one: LineageFile, other: LineageFile): boolean | undefined {
  if (one.size !== other.size) return false
  const [a, b] = [sumOf(one), sumOf(other)]
  if (a !== undefined && b !== undefined) return a === b
  const algorithm = (digest: string): string => digest.slice(0, digest.indexOf(':'))
  if (one.digest === null || other.digest === null || algorithm(one.digest) !== algorithm(other.digest))
    return undefined
  return one.digest === other.digest
}

/**
 * Why a lineage is not that of an input, as the end of a sentence; undefined if it is. `digest`: of the lineage's file. An input is made
 * from files of the output: all that the child read must be among them.
 */
export function whyNotOf(input: LineageModel, lineage: Lineage, digest: string): string | undefined {
  if (input.lineage !== undefined && input.lineage !== digest)
    return 'its lineage is not the one that lay beside it when it was merged'
  if (input.files.length === 0) return 'no file of it is recorded'
  if (lineage.output.dropped) return 'its lineage is about a checkpoint that was not kept'
  const { files } = lineage.output
  for (const file of input.files) {
    const [only] = files
    // A model that is one file can have another name now.
    const isRenamed = input.files.length === 1 && files.length === 1
    const made = files.find(({ name }) => name === file.name) ?? (isRenamed ? only : undefined)
    if (!made) return `its lineage does not list ${file.name}`
    const same = sameFile(file, made)
    if (same === false) return `${file.name} is not the file of its lineage: the recorded digests differ`
    if (same === undefined) return `${file.name} has no recorded digest that could be compared with its lineage`
  }
  return undefined
}
