import type { CommandWords, Value } from './words.js'

/** Shell words in single quotes: none of the words has a quote or a space. */
const list = (words: readonly string[]): string => `'${words.join(' ')}'`

/** Without words, bash itself completes files. */
const assignment = (value: Value): string =>
  value === 'files' ? 'files=1' : value === 'unknown' ? 'files=' : `files= words=${list(value)}`

function command({ id, flags, args }: CommandWords): string {
  const values = flags.flatMap(({ names, value }) =>
    value === undefined ? [] : [`        ${names.join('|')}) flags= ${assignment(value)} ;;`],
  )
  const names = flags.flatMap(({ names }) => names)
  return [
    `    ${id})`,
    `      flags=${list(names)} ${assignment(args)}`,
    ...(values.length > 0 ? ['      case $previous in', ...values, '      esac'] : []),
    '      ;;',
  ].join('\n')
}

/** Works in bash 3.2, which macOS has, and without the package bash-completion. */
export const bash = (commands: readonly CommandWords[], top: readonly string[]): string => `# bash completion for terge
_terge() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]} flags= files= words=
  # bash splits --flag=value into three words.
  if [[ $current == '=' ]]; then current=
  elif [[ $previous == '=' ]]; then previous=\${COMP_WORDS[COMP_CWORD-2]}
  fi
  if ((COMP_CWORD == 1)); then words=${list([...commands.map(({ id }) => id), ...top])}
  else
    case \${COMP_WORDS[1]} in
    help) words=${list(commands.map(({ id }) => id))} ;;
${commands.map(command).join('\n')}
    esac
  fi
  if [[ $current == -* ]]; then words=$flags files=; fi
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  # Files are readline's own, with quotes where they have spaces. bash 3.2 has no compopt.
  if [[ -z $files ]]; then compopt +o default 2>/dev/null; fi
}
complete -o default -F _terge terge
`
