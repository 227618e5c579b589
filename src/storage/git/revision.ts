/** Files of a revision of a git repository: which there are, and their content. */
import path from 'node:path'
import { fault } from '../../core/diagnostics.js'
import { quote } from '../../core/suggest.js'
import { settle } from '../local/places.js'
import { GitProblem, git, parts } from './command.js'

/** A file of a revision. */
export interface RevisionFile {
  /** Relative to the root of the repository, with `/`. */
  readonly path: string
  /** `100644`, or that of an executable, a link (`120000`), a submodule (`160000`) or a folder. */
  readonly mode: string
  readonly id: string
  readonly size: number
}

export interface Revision {
  /** As written. */
  readonly name: string
  readonly commit: string
  /** The folder of the work tree, absolute, with links resolved. */
  readonly root: string
  /** The path of a file below the root, with `/`; undefined for files outside. Does not look at links. */
  within(file: string): string | undefined
  /** What the revision has at these paths: files, folders, links and submodules. */
  entries(paths: readonly string[]): readonly RevisionFile[]
  /** The file at a path, or all files below it. */
  files(path: string): readonly RevisionFile[]
  /** Paths at or below a path that the index has now. */
  tracked(path: string): ReadonlySet<string>
  /** The content of a small file. Throws `GitProblem`. */
  content(file: RevisionFile): Buffer
  /** Writes the content of a file to a descriptor. Throws `GitProblem`. */
  write(file: RevisionFile, target: number): void
  /** The folder of git's data. */
  data(): string
}

/** The revision that `name` means in the repository of a folder. Error: `bad-revision`. */
export function openRevision(folder: string, name: string): Revision {
  const ask = (...words: string[]): string => git(folder, words).toString('utf8').replace(/\n$/, '')
  let root: string
  try {
    root = settle(ask('rev-parse', '--show-toplevel'))
  } catch (error) {
    if (!(error instanceof GitProblem)) throw error
    throw fault(
      'bad-revision',
      `there is no file ${quote(name)}, and no git repository to look for a revision of that name: ${error.message}`,
      'write a revision of the repository that has the recipe, another recipe, or a plan as terge plan --json prints it',
    )
  }
  const commit = commitOf(root, name)
  return {
    ...{ name, commit, root },
    within(file) {
      const relative = path.relative(root, file)
      const outside = relative === '..' || relative.startsWith(`..${path.sep}`) || path.isAbsolute(relative)
      return outside ? undefined : relative.split(path.sep).join('/')
    },
    entries: (paths) =>
      paths.length === 0
        ? []
        : parts(git(root, ['ls-tree', '-l', '-z', '--full-tree', commit, '--', ...paths])).map(fileOf),
    files: (below) =>
      parts(
        git(root, ['ls-tree', '-r', '-l', '-z', '--full-tree', commit, '--', ...(below === '' ? [] : [below])]),
      ).map(fileOf),
    tracked: (below) => new Set(parts(git(root, ['ls-files', '-z', '--', ...(below === '' ? [] : [below])]))),
    content: ({ id }) => git(root, ['cat-file', 'blob', id]),
    write: ({ id }, target) => void git(root, ['cat-file', 'blob', id], target),
    data: () => path.resolve(root, ask('rev-parse', '--git-common-dir')),
  }
}

function commitOf(root: string, name: string): string {
  const fail = (why: string) =>
    fault(
      'bad-revision',
      `${quote(name)} is neither a file nor a revision of ${path.basename(root)}: ${why}`,
      'write a branch, tag or commit that this clone has, such as origin/main; git fetch brings others',
    )
  if (name.startsWith('-') || /[\s\0]/.test(name)) throw fail('it is not a valid name')
  try {
    return git(root, ['rev-parse', '--verify', '--quiet', '--end-of-options', `${name}^{commit}`])
      .toString('utf8')
      .trim()
  } catch (error) {
    if (error instanceof GitProblem) throw fail('git does not know it')
    throw error
  }
}

/** `MODE TYPE ID SIZE\tPATH`, as `ls-tree -l` prints it. Submodules have no size. */
function fileOf(line: string): RevisionFile {
  const [, mode, id, size, name] = /^(\d+) \w+ ([0-9a-f]+) +(\d+|-)\t([\s\S]+)$/.exec(line) ?? []
  if (name === undefined) throw new Error(`internal: git printed ${JSON.stringify(line)}`)
  return { path: name, mode: mode!, id: id!, size: size === '-' ? 0 : Number(size) }
}
