// Commands and flags, from their own declarations.
import { COMMANDS } from '../../dist/src/commands/map.js'
import { table, ticks } from './markdown.mjs'

const load = () => Promise.all(Object.values(COMMANDS).map((command) => command()))

const upper = ([name, { required, multiple }]) => {
  const word = `${name.toUpperCase()}${multiple ? '…' : ''}`
  return required ? word : `[${word}]`
}
const usage = ({ id, args }) => ['terge', id, ...Object.entries(args).map(upper)].join(' ')

export async function commandTable() {
  const commands = await load()
  return table(
    ['command', 'does'],
    commands.map((command) => [ticks(usage(command)), command.summary]),
  )
}

function flag([name, { char, helpValue, options, type, multiple, required }]) {
  const value = type === 'boolean' ? '' : ` ${options ? options.join('|') : (helpValue ?? 'VALUE')}`
  const written = `${char ? `-${char}, ` : ''}--${name}${value}${multiple ? '…' : ''}`
  return required ? `${ticks(written)} (required)` : ticks(written)
}

/** An example is a command, or a line of what it is for and the command. */
function example(text) {
  const [command, about] = text.replaceAll('<%= config.bin %>', 'terge').split('\n').reverse()
  return about === undefined ? command : `# ${about}\n${command}`
}

/** What oclif does not say of a flag: the default that its parser fills in. */
const meaning = ({ description, default: value }) =>
  typeof value === 'string' ? `${description} (default: ${value})` : (description ?? '')

export async function commandReference() {
  const commands = await load()
  return commands
    .map((command) =>
      [
        `### \`${usage(command)}\``,
        `${command.summary} ${command.description}`,
        ['```sh', ...command.examples.map(example), '```'].join('\n'),
        table(
          ['argument or flag', 'meaning'],
          [
            ...Object.entries(command.args).map(([name, arg]) => [ticks(name.toUpperCase()), arg.description ?? '']),
            ...Object.entries(command.flags).map(([name, spec]) => [flag([name, spec]), meaning(spec)]),
          ],
        ),
      ].join('\n\n'),
    )
    .join('\n\n')
}
