/** Signed provenance: an in-toto statement whose subjects are files of a model. */
import { withoutExtension } from '../checkpoints/containers/index.js'
import type { Diagnostic } from '../core/diagnostics.js'
import { quote } from '../core/suggest.js'
import { refused } from './bundle.js'
import { filesOf, type HashOptions, hashFiles, present, type SignedModel } from './files.js'
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

/** What the names of files beside a model that is one file have after its own. */
const BESIDE = ['.lineage.json', '.sha256']
/** The name of a model that is one file. */
const ONLY = '.'

/** The name of a file as `hashNamed` has it: a file beside a single one is named by its end, whatever the model is called now. */
const nameIn = (name: string, isFile: boolean): string =>
  isFile ? (BESIDE.find((end) => name.endsWith(end)) ?? ONLY) : name

/** How files differ from the subjects of a statement. `files`: those of `hashNamed`. */
export function compareSubjects(
  subjects: readonly Subject[],
  files: readonly Resource[],
  isFile: boolean,
): Diagnostic[] {
  const known = new Map(files.map(({ name, digest }) => [name, digest]))
  const problem = (message: string): Diagnostic => ({ severity: 'error', code: 'signed-files', message, hint: HINT })
  const models = subjects.filter(({ name }) => nameIn(name, isFile) === ONLY)
  if (isFile && models.length !== 1) return [problem(`the provenance is about ${models.length} models, not about one`)]
  return subjects.flatMap(({ name, sha256 }) => {
    const found = known.get(nameIn(name, isFile))
    if (found === sha256) return []
    return [
      problem(`${quote(name)} ${found === undefined ? 'is missing' : 'differs'}: the provenance is about another file`),
    ]
  })
}

const WHOLE: Serialization = { method: 'files', hash: 'sha256', allowSymlinks: false, ignored: [] }

/**
 * The SHA-256 of the files that a statement is about, as it names them; in a model that is one file, that is named `.`, and those beside
 * it by their ends. `known`: files that were hashed already. Finds files by walking the folder, and never opens a name of a statement.
 */
export async function hashNamed(
  model: SignedModel,
  subjects: readonly Subject[],
  ignored: readonly string[],
  options: HashOptions,
  known: readonly Resource[] = [],
): Promise<Resource[]> {
  const names = new Set(subjects.map(({ name }) => nameIn(name, model.isFile)))
  for (const { name } of known) names.delete(name)
  const stem = withoutExtension(model.place)
  const there = model.isFile
    ? [
        { name: ONLY, path: model.place },
        ...(await present(BESIDE.map((end) => ({ name: end, path: `${stem}${end}` })))),
      ]
    : await filesOf(model, ignored)
  const wanted = there.filter(({ name }) => names.has(name))
  const hashed = await hashFiles(model, wanted, WHOLE, options)
  return [...known, ...hashed.flatMap((one) => ('resources' in one ? one.resources : []))]
}
