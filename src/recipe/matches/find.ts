/** The checkpoints that a pattern of paths matches: in natural order, without what is certainly none. */
import path from 'node:path'
import { isWeights } from '../../checkpoints/sidecarNames.js'
import type { ErrorCode } from '../../core/codes.js'
import { naturalOrder } from '../../core/collections/naturalOrder.js'
import { matchedBy, type PathPattern, partMatches } from '../../core/names/pathPattern.js'
import { didYouMean, quote } from '../../core/suggest.js'
import { counted } from '../../core/words.js'
import { type FolderEntry, linkTarget, MOST_ENTRIES } from '../../storage/local/places.js'
import { FileProblem } from '../../storage/local/regular.js'

/** Where patterns look. */
export interface Looking {
  /** The absolute path of a path in the recipe. */
  readonly resolve: (written: string) => string
  /** Where the file or folder at an absolute path is read. */
  readonly place: (file: string) => string
  /** The entries of a folder; undefined if there is none. Throws `FileProblem`. */
  readonly entries: (folder: string) => readonly FolderEntry[] | undefined
  /** References of models of an earlier run, which patterns match in place of what is there now. */
  readonly listed?: readonly string[] | undefined
  /** Whether links may lead anywhere: in a revision of git, they are followed as they were. */
  readonly freeLinks: boolean
}

/** A file or folder that a pattern matches. */
export interface Match {
  /** As a path in the recipe. */
  readonly reference: string
  /** What it has in place of the pattern's parts. */
  readonly name: string
}

export interface PatternProblem {
  readonly code: ErrorCode
  readonly message: string
  readonly hint: string
}

export interface Found {
  readonly matches: readonly Match[]
  readonly skipped: readonly { readonly reference: string; readonly why: string }[]
  readonly problem?: PatternProblem
}

/** The most checkpoints of one pattern. */
const MOST_MATCHES = 1000

const TEMPORARY = /(^|[._-])tmp([._-]|$)|\.(part|partial|incomplete|crdownload)$|~$/i
const SHARD = /-\d+-of-\d+\.\w+$/
/** What terge writes beside an output. */
const PERMUTATIONS = /\.permutations\.\w+$/

/** Thrown inside of this file. */
class Problem extends Error {
  constructor(readonly problem: PatternProblem) {
    super(problem.message)
  }
}

const refuse = (code: ErrorCode, message: string, hint: string): never => {
  throw new Problem({ code, message, hint })
}

/** Never throws for what is on the disk: problems are values. */
export function findMatches(pattern: PathPattern, looking: Looking): Found {
  if (looking.listed) return { matches: listedMatches(pattern, looking.listed), skipped: [] }
  try {
    return searched(pattern, looking)
  } catch (error) {
    if (error instanceof Problem) return { matches: [], skipped: [], problem: error.problem }
    throw error
  }
}

const listedMatches = (pattern: PathPattern, listed: readonly string[]): Match[] =>
  listed
    .flatMap((reference) => {
      const name = matchedBy(pattern, reference)
      return name === undefined ? [] : [{ reference, name }]
    })
    .sort((a, b) => naturalOrder(a.name, b.name))

interface Candidate extends Match {
  readonly kind: 'file' | 'folder'
  /** For a link: the real path of what it leads to. */
  readonly target?: string
}

function searched(pattern: PathPattern, looking: Looking): Found {
  const { text, parts } = pattern
  const skipped: { reference: string; why: string }[] = []
  let candidates: Candidate[] = [{ reference: pattern.root.replace(/\/$/, ''), name: '', kind: 'folder' }]
  let seen = 0
  for (const [depth, part] of parts.entries()) {
    const last = depth === parts.length - 1
    const next: Candidate[] = []
    for (const folder of candidates) {
      const entries = namesIn(depth === 0 ? pattern.root : folder.reference, looking)
      seen += entries.length
      if (seen > MOST_ENTRIES)
        refuse(
          'too-large',
          `${quote(text)} looks at more than ${MOST_ENTRIES} names`,
          'write more of the path before its first *',
        )
      for (const entry of entries) {
        if (!partMatches(part, entry.name)) continue
        const name = folder.name === '' ? entry.name : `${folder.name}/${entry.name}`
        const reference = pattern.root + name
        const found = settled(entry, { reference, name }, pattern, looking)
        if (found.kind === 'other') skipped.push({ reference, why: 'it is neither a file nor a folder' })
        else if (last || found.kind === 'folder') next.push({ ...found, kind: found.kind })
      }
    }
    candidates = next
  }
  const all = candidates.sort((a, b) => naturalOrder(a.name, b.name))
  const models = checkedKinds(pattern, all, skipped)
  const matches = withoutCopies(models, looking, skipped)
  if (matches.length === 0) refuseNone(pattern, skipped, looking)
  if (matches.length > MOST_MATCHES)
    refuse(
      'too-large',
      `${quote(text)} matches ${counted(matches.length, 'checkpoint')}, but a pattern can name at most ${MOST_MATCHES}`,
      'write a pattern that matches fewer, such as runs/checkpoint-*000',
    )
  return { matches: matches.map(({ reference, name }) => ({ reference, name })), skipped }
}

/** The entries of a folder that the pattern names, or none. */
function namesIn(written: string, { resolve, entries }: Looking): readonly FolderEntry[] {
  try {
    return entries(resolve(written === '' ? '.' : written)) ?? []
  } catch (error) {
    if (!(error instanceof FileProblem)) throw error
    return refuse('cannot-read', `${written} ${error.message}`, 'check the path and its permissions')
  }
}

/** What an entry is after links. Error: `outside-link`. */
function settled(entry: FolderEntry, match: Match, pattern: PathPattern, looking: Looking) {
  if (entry.kind !== 'link') return { ...match, kind: entry.kind }
  const { place, resolve, freeLinks } = looking
  const target = linkTarget(place(resolve(match.reference)))
  const hint = 'remove the link, or write a narrower pattern and give the link a name of its own in models'
  if (!target)
    return refuse('outside-link', `${match.reference} is a link to a file or folder that does not exist`, hint)
  const root = freeLinks ? undefined : linkTarget(place(resolve(pattern.root === '' ? '.' : pattern.root)))
  if (root && !target.path.startsWith(`${root.path.replace(/[\\/]$/, '')}${path.sep}`))
    return refuse(
      'outside-link',
      `${match.reference} is a link that leads out of the folder of ${quote(pattern.text)}`,
      hint,
    )
  return { ...match, kind: target.kind, target: target.path }
}

/** Files and folders that may be models, all of one kind. Errors: `mixed-matches`. */
function checkedKinds(
  { text, folders, parts }: PathPattern,
  all: readonly Candidate[],
  skipped: { reference: string; why: string }[],
): Candidate[] {
  const asked = TEMPORARY.test(parts.at(-1)!)
  const models = all.filter(({ kind, name, reference }) => {
    const why =
      !asked && TEMPORARY.test(name)
        ? 'its name is that of a temporary file'
        : kind === 'folder'
          ? undefined
          : folders
            ? 'it is not a folder'
            : PERMUTATIONS.test(name)
              ? 'it holds permutations'
              : isWeights(name)
                ? undefined
                : 'it is not a file of weights'
    if (why !== undefined) skipped.push({ reference, why })
    return why === undefined
  })
  const [file, folder] = (['file', 'folder'] as const).map((kind) => models.find((one) => one.kind === kind))
  if (file && folder)
    refuse(
      'mixed-matches',
      `${quote(text)} matches both files and folders, such as ${file.reference} and ${folder.reference}`,
      `write ${quote(`${text.replace(/\/$/, '')}/`)} for the folders, or a pattern with the extension of the files`,
    )
  const shard = models.find(({ kind, name }) => kind === 'file' && SHARD.test(name))
  if (shard)
    refuse(
      'mixed-matches',
      `${quote(text)} matches ${shard.reference}, which is one of several files of a model`,
      'write a pattern of the folders of the models',
    )
  return models
}

/** Without links to other matches: a checkpoint that is there twice would count twice. */
function withoutCopies(
  models: readonly Candidate[],
  { place, resolve }: Looking,
  skipped: { reference: string; why: string }[],
): readonly Candidate[] {
  if (models.every(({ target }) => target === undefined)) return models
  const known = new Map<string, string>()
  for (const { reference, target } of models)
    if (target === undefined) known.set(linkTarget(place(resolve(reference)))?.path ?? reference, reference)
  return models.filter(({ reference, target }) => {
    if (target === undefined) return true
    const other = known.get(target)
    if (other === undefined) known.set(target, reference)
    else skipped.push({ reference, why: `it is a link to the same checkpoint as ${other}` })
    return other === undefined
  })
}

/** Error: `no-checkpoints`, with what is there. */
function refuseNone(
  { text, root, parts }: PathPattern,
  skipped: readonly { readonly reference: string; readonly why: string }[],
  looking: Looking,
): never {
  const [one] = skipped
  if (one)
    return refuse(
      'no-checkpoints',
      `${quote(text)} matches no checkpoint: ${one.reference} does not count, because ${one.why}`,
      'write the pattern of the checkpoints, relative to the recipe',
    )
  const message = `${quote(text)} matches no file or folder`
  // The first folder on the way that does not exist, or the first part that nothing matches.
  const steps = root.split('/').filter((step) => step !== '')
  for (let count = steps.length; count >= 0; count--) {
    const above = `${root.startsWith('/') ? '/' : ''}${steps.slice(0, count).join('/')}`
    const entries = looking.entries(looking.resolve(above === '' ? '.' : above))
    if (!entries) continue
    const missing = steps[count] ?? parts[0]!
    const folders = entries.filter(({ kind }) => kind === 'folder' || kind === 'link').map(({ name }) => name)
    // Checkpoints of one run differ in their numbers.
    const shapes = (count < steps.length ? folders : entries.map(({ name }) => name.replace(/\d+/g, '*')))
      .filter((name) => !name.startsWith('.'))
      .sort()
    const where = above === '' ? "the recipe's folder" : above
    const hint = didYouMean(missing, shapes, `in ${where}`) ?? `${where} is empty`
    return refuse(
      'no-checkpoints',
      count < steps.length
        ? `${message}: there is no folder ${quote([above, missing].filter(Boolean).join('/'))}`
        : message,
      hint,
    )
  }
  return refuse('no-checkpoints', message, 'write a pattern relative to the recipe, such as runs/checkpoint-*')
}
