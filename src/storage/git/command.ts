/**
 * Runs git to read a repository that is not trusted. Its configuration, hooks, filters and attributes run nothing: only commands that
 * print objects and names are used, without a shell, a pager or a network.
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import path from 'node:path'

/** Options before each command. A lazy clone must not fetch: its transport can be any program. */
const SAFE = [
  '--no-pager',
  '--literal-pathspecs',
  '--no-replace-objects',
  ...['core.fsmonitor=false', 'core.hooksPath=/dev/null', 'protocol.allow=never'].flatMap((setting) => ['-c', setting]),
]

/** The name of the command. Windows would also look into the working folder. */
function program(): string {
  if (process.platform !== 'win32') return 'git'
  const folders = (process.env.PATH ?? process.env.Path ?? '').split(path.delimiter)
  const found = folders.filter((folder) => path.isAbsolute(folder)).map((folder) => path.join(folder, 'git.exe'))
  return found.find((file) => existsSync(file)) ?? 'git-not-found'
}

/** Most bytes of an answer that is kept in memory. */
const MOST = 2 ** 28

/** Why git did not do what it was asked to do. */
export class GitProblem extends Error {}

/**
 * The output of a git command in a folder. `target`: the descriptor of a file that gets the output instead. Throws `GitProblem` with
 * git's own message.
 */
export function git(folder: string, words: readonly string[], target?: number): Buffer {
  const { status, stdout, stderr, error } = spawnSync(program(), ['-C', folder, ...SAFE, ...words], {
    stdio: ['ignore', target ?? 'pipe', 'pipe'],
    maxBuffer: MOST,
    windowsHide: true,
    env: { ...process.env, GIT_TERMINAL_PROMPT: '0', GIT_OPTIONAL_LOCKS: '0', GIT_NO_LAZY_FETCH: '1', LC_ALL: 'C' },
  })
  const { code } = (error ?? {}) as NodeJS.ErrnoException
  if (code === 'ENOENT') throw new GitProblem('git is not installed')
  if (error) throw new GitProblem(code === 'ENOBUFS' ? 'the answer of git is too long' : error.message)
  if (status !== 0) throw new GitProblem(firstLine(stderr.toString()) ?? `git ended with ${status}`)
  return stdout ?? Buffer.alloc(0)
}

const firstLine = (text: string): string | undefined => text.split('\n').find((line) => line.trim() !== '')

/** The parts of an answer of git with `-z`. */
export const parts = (answer: Buffer): string[] =>
  answer
    .toString('utf8')
    .split('\0')
    .filter((part) => part !== '')
