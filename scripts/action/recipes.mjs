// Which recipes a pull request changes. Names of files are not trusted: git prints them with NUL between, and no shell sees them.
import { spawnSync } from 'node:child_process'
import { readFileSync, statSync } from 'node:fs'

const SAFE = ['core.fsmonitor=false', 'core.hooksPath=/dev/null', 'diff.external='].flatMap((setting) => [
  '-c',
  setting,
])

function git(...words) {
  const { status, stdout, stderr, error } = spawnSync('git', ['--no-pager', ...SAFE, ...words], {
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
    env: { ...process.env, GIT_TERMINAL_PROMPT: '0', GIT_OPTIONAL_LOCKS: '0' },
  })
  if (error) throw error
  return { ok: status === 0, out: stdout, why: stderr.split('\n')[0] }
}

const parts = (text) => text.split('\0').filter((part) => part !== '')

const COMMIT = /^[0-9a-f]{40}([0-9a-f]{24})?$/

/** The commit that the pull request started from, as far as the clone knows. */
export function baseOf(event) {
  const base = event.pull_request?.base?.sha
  if (base === undefined) return undefined
  if (!COMMIT.test(base)) throw new Error('the event has no commit of the base')
  const isHere = () => git('cat-file', '-e', `${base}^{commit}`).ok
  // A checkout of one commit does not have it. The one fetch asks for exactly this commit.
  if (!isHere()) git('fetch', '--quiet', '--no-tags', '--depth=1', 'origin', base)
  if (!isHere())
    throw new Error('this clone lacks the base of the pull request: set fetch-depth: 0 in actions/checkout')
  const { ok, out } = git('merge-base', base, 'HEAD')
  return ok && COMMIT.test(out.trim()) ? out.trim() : base
}

/** Changed files by name, with the earlier name; and those that are removed. */
function changedFiles(base) {
  const { ok, out, why } = git(
    'diff',
    '--no-ext-diff',
    '--no-textconv',
    '--name-status',
    '-z',
    '-M',
    base,
    'HEAD',
    '--',
  )
  if (!ok) throw new Error(`git diff: ${why}`)
  const words = parts(out)
  const changed = new Map()
  const removed = []
  while (words.length > 0) {
    const state = words.shift()
    const name = words.shift()
    if (/^[RC]/.test(state)) changed.set(words.shift(), name)
    else if (state === 'D') removed.push(name)
    else changed.set(name, name)
  }
  return { changed, removed }
}

/** Most bytes of a file that can be a recipe. */
const MOST = 4 * 2 ** 20

/** Whether a text is a recipe, or a mergekit configuration. */
const isRecipe = (text) => /^\s*\{?\s*"?terge"?\s*:\s*\d/m.test(text) || /^"?merge_method"?\s*:/m.test(text)

function isRecipeHere(name) {
  const entry = statSync(name, { throwIfNoEntry: false })
  return entry?.isFile() === true && entry.size <= MOST && isRecipe(readFileSync(name, 'utf8'))
}

const named = (name) => /\.(ya?ml|json)$/i.test(name)

/**
 * The recipes to review, each with its name at the base, and those that are gone. `globs`: which to review, whether they changed or
 * not; by default all that changed.
 */
export function recipesOf(base, globs) {
  const { changed, removed } = base === undefined ? { changed: new Map(), removed: [] } : changedFiles(base)
  const { out } =
    globs.length > 0 ? git('ls-files', '-z', '--', ...globs.map((glob) => `:(top,glob)${glob}`)) : { out: '' }
  const asked = new Set(parts(out))
  const names = globs.length > 0 ? [...asked] : [...changed.keys()].filter((name) => named(name) && isRecipeHere(name))
  const gone = removed.filter((name) => named(name) && isRecipe(git('cat-file', 'blob', `${base}:${name}`).out ?? ''))
  return {
    recipes: names.sort().map((name) => ({ name, was: changed.get(name) ?? name, isChanged: changed.has(name) })),
    removed: gone.sort(),
  }
}
