import { type CommandWords, short, type Value } from './words.js'

const quoted = (text: string): string => `'${text.replace(/['\\]/g, '\\$&')}'`

/** `-r` requires a value, `-x` one that is no file, `-F` allows files. */
const value = (value: Value | undefined): string => {
  if (value === undefined) return ''
  if (value === 'files') return ' -r -F'
  return value === 'unknown' ? ' -x' : ` -x -a ${quoted(value.join(' '))}`
}

function command({ id, flags, args }: CommandWords): string[] {
  const line = `complete -c terge -n ${quoted(`__terge_is ${id}`)}`
  return [
    ...flags.map(({ names, description, value: follows }) => {
      const written = names.map((name) => (name.startsWith('--') ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`))
      return `${line} ${written.join(' ')}${value(follows)} -d ${quoted(short(description))}`
    }),
    ...(args === 'files' ? [`${line} -F`] : args === 'unknown' ? [] : [`${line} -a ${quoted(args.join(' '))}`]),
  ]
}

export const fish = (commands: readonly CommandWords[], top: readonly string[]): string => `# fish completion for terge
function __terge_is
    set -l words (commandline -opc)
    test (count $words) -ge 2; and contains -- $words[2] $argv
end
function __terge_begins
    test (count (commandline -opc)) -eq 1
end
complete -c terge -f
${commands.map(({ id, summary }) => `complete -c terge -n __terge_begins -a ${id} -d ${quoted(short(summary))}`).join('\n')}
complete -c terge -n __terge_begins -a ${quoted(top.filter((word) => !word.startsWith('-')).join(' '))}
${top
  .filter((word) => word.startsWith('--'))
  .map((word) => `complete -c terge -n __terge_begins -l ${word.slice(2)}`)
  .join('\n')}
complete -c terge -n ${quoted('__terge_is help')} -a ${quoted(commands.map(({ id }) => id).join(' '))}
${commands.flatMap(command).join('\n')}
`
