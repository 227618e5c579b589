/** Signed provenance: an in-toto statement whose subjects are files of a model. */
import type { Diagnostic } from '../core/diagnostics.js'
import { quote } from '../core/suggest.js'
import { refused } from './bundle.js'
import { filesOf, type HashOptions, hashFiles, type SignedModel } from './files.js'
import { isFields, predicateIn } from './manifest.js'
import type { Resource, Serialization } from './types.js'

/** A file that a statement is about. */
export interface Subject {
  readonly name: string
  /** 64 hexadecimal digits. */
  readonly sha256: string
}

/** The subjects of a statement with a predicate of this type. Error: `bad-signature`. */
export function parseSubjects(payload: Buffer, type: string, shown: string): Subject[] {
  const { subjects } = predicateIn(payload, type, shown)
  if (subjects.length === 0) throw refused(shown, 'the signed statement is about no file')
  const names = new Set<string>()
  return subjects.map(({ name, digest }) => {
    const sha256 = isFields(digest) ? digest.sha256 : undefined
    if (typeof name !== 'string' || typeof sha256 !== 'string' || !/^[0-9a-f]{64}$/.test(sha256))
      throw refused(shown, 'the signed statement has a subject without a name or a SHA-256')
    if (names.has(name)) throw refused(shown, `the signed statement lists the file ${quote(name)} twice`)
    names.add(name)
    return { name, sha256 }
  })
}

const HINT = 'run the recipe again, or get the model again: the provenance is not about these files'

/**
 * How files differ from the subjects of a statement. `files`: by name, 64 hexadecimal digits; in a model that is one file, its name
 * is `.`.
 */
export function compareSubjects(
  subjects: readonly Subject[],
  files: readonly Resource[],
  isFile: boolean,
): Diagnostic[] {
  const known = new Map(files.map(({ name, digest }) => [name, digest]))
  const problem = (message: string): Diagnostic => ({ severity: 'error', code: 'signed-files', message, hint: HINT })
  if (isFile && subjects.length !== 1)
    return [problem(`the provenance is about ${subjects.length} files, not about one`)]
  return subjects.flatMap(({ name, sha256 }) => {
    const found = known.get(isFile ? '.' : name)
    if (found === sha256) return []
    return [
      problem(`${quote(name)} ${found === undefined ? 'is missing' : 'differs'}: the provenance is about another file`),
    ]
  })
}

const WHOLE: Serialization = { method: 'files', hash: 'sha256', allowSymlinks: false, ignored: [] }

/** The SHA-256 of the files of a model that have these names. Finds them by walking the folder, and never opens a name of a statement. */
export async function hashNamed(
  model: SignedModel,
  names: ReadonlySet<string>,
  ignored: readonly string[],
  options: HashOptions,
): Promise<Resource[]> {
  const found = await filesOf(model, ignored)
  const wanted = model.isFile ? found : found.filter(({ name }) => names.has(name))
  const hashed = await hashFiles(model, wanted, WHOLE, options)
  return hashed.flatMap((one) => ('resources' in one ? one.resources : []))
}
