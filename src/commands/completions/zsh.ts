import { type CommandWords, type FlagWords, short, type Value } from './words.js'

const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`
/** Text inside brackets or between colons. */
const escaped = (text: string): string => text.replace(/[\\[\]:]/g, '\\$&')

const action = (value: Value): string =>
  value === 'files' ? '_files' : value === 'unknown' ? ' ' : `(${value.join(' ')})`

function flag({ names, description, value, label, repeats }: FlagWords): string {
  const about = `[${escaped(short(description))}]`
  const rest = value === undefined ? about : `${about}:${escaped(label)}:${action(value)}`
  // A flag that may be written only once excludes its other name.
  const excluded = repeats ? '*' : names.length > 1 ? `(${names.join(' ')})` : ''
  // With = the value may follow in the same word or in the next one.
  return names
    .map((name) => quoted(`${excluded}${name}${value !== undefined && name.startsWith('--') ? '=' : ''}${rest}`))
    .join(' ')
}

const command = ({ id, flags, args, repeats }: CommandWords): string =>
  [
    `        ${id})`,
    '          _arguments \\',
    ...flags.map((one) => `            ${flag(one)} \\`),
    `            ${quoted(`${repeats ? '*' : '1'}:argument:${action(args)}`)}`,
    '          ;;',
  ].join('\n')

export const zsh = (commands: readonly CommandWords[], top: readonly string[]): string => `#compdef terge
# zsh completion for terge
_terge() {
  local state line
  local -a commands
  commands=(
${commands.map(({ id, summary }) => `    ${quoted(`${escaped(id)}:${escaped(short(summary))}`)}`).join('\n')}
${top.map((word) => `    ${quoted(word)}`).join('\n')}
  )
  _arguments -C '1: :->command' '*:: :->arguments'
  case $state in
    command) _describe command commands ;;
    arguments)
      case $words[1] in
        help) _describe command commands ;;
${commands.map(command).join('\n')}
      esac
      ;;
  esac
}
# Found in $fpath, this file is the function itself; after eval it must be registered.
if [ "$funcstack[1]" = _terge ]; then
  _terge "$@"
else
  compdef _terge terge
fi
`
