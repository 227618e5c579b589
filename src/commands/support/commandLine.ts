import path from 'node:path'

/** Words that no shell changes. */
const PLAIN = /^[\w@%+=:,./-]+$/

const quoted = (word: string): string => (PLAIN.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`)

/** The command that was typed, for a shell. `argv`: with Node and the script. */
export function commandLine(argv: readonly string[], folder: string): string {
  const [, script = 'terge', ...words] = argv
  // A package manager links the script under the name of the command.
  const program = path.extname(script) === '' ? [path.basename(script)] : ['node', path.relative(folder, script)]
  return [...program, ...words].map(quoted).join(' ')
}
