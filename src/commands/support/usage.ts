import { stripVTControlCharacters } from 'node:util'
import { Fault, fault } from '../../core/diagnostics.js'
import { didYouMean, nearest, quote } from '../../core/suggest.js'
import { agree } from '../../core/words.js'

/** What error messages need to know about a command. */
interface Used {
  readonly id: string
  readonly args: Readonly<Record<string, { readonly options?: readonly string[] }>>
  readonly flags: Readonly<Record<string, { readonly char?: string }>>
  /** Flags of a similar command that this one cannot have, and what to do instead. */
  readonly refused?: Readonly<Record<string, string>>
}

const helpOf = (id: string): string => `run terge ${id} --help`

/** Converts an error of oclif's parser to a `Fault`; returns any other error unchanged. */
export function usageFault(error: unknown, command: Used): unknown {
  if (error instanceof Fault || !(error instanceof Error) || !('oclif' in error)) return error
  if ('flags' in error && Array.isArray(error.flags)) return unknownFlags(error.flags.map(String), command)
  if ('args' in error && Array.isArray(error.args)) {
    const names = error.args.map((arg: unknown) => (typeof arg === 'string' ? arg : undefined))
    if (names.every((name) => name !== undefined))
      return fault(
        'unexpected-argument',
        `unexpected ${agree(names.length, 'argument', 'arguments')} ${names.map(quote).join(', ')} for terge ${command.id}`,
        helpOf(command.id),
      )
    const missing = (error.args as { name: string }[]).map(({ name }) => name.toUpperCase()).join(' and ')
    return fault('missing-argument', `terge ${command.id} requires ${missing}`, helpOf(command.id))
  }
  // With forced colours, oclif dims parts of the message.
  const text = stripVTControlCharacters(error.message)
  const [, flag] = /Missing required flag (\S+)/.exec(text) ?? []
  if (flag !== undefined) return fault('missing-flag', `terge ${command.id} requires --${flag}`, helpOf(command.id))
  const [, word] = /^Expected (?!--)(.*) to be one of: /s.exec(text) ?? []
  const [name, { options = [] } = {}] = Object.entries(command.args).find(([, { options }]) => options) ?? []
  if (word !== undefined && name !== undefined) {
    const message = `${name.toUpperCase()} must be one of ${options.join(', ')}, not ${quote(word)}`
    return fault('bad-usage', message, helpOf(command.id))
  }
  const [, option, value, choices] = /^Expected --([\w-]+)=(.*) to be one of: ([^\n]*)/s.exec(text) ?? []
  if (value !== undefined && choices !== undefined) {
    const [meant] = nearest(value, choices.split(', '), 1)
    const hint = meant === undefined ? helpOf(command.id) : `did you mean ${quote(meant)}?`
    return fault('bad-flag', `--${option} must be one of ${choices}, not ${quote(value)}`, hint)
  }
  const message = text
    .replace(/\nSee more help with --help$/, '')
    .replace(/^The following errors? occurred:\s*/, '')
    .trim()
  return fault('bad-usage', message, helpOf(command.id))
}

function unknownFlags(flags: readonly string[], { id, flags: known, refused = {} }: Used): Fault {
  const names = Object.keys(known).map((name) => `--${name}`)
  return new Fault(
    flags.map((written) => {
      const flag = written.replace(/=.*/s, '')
      const name = flag.replace(/^--/, '')
      if (Object.hasOwn(refused, name))
        return {
          ...{ severity: 'error', code: 'bad-flag', hint: refused[name]! },
          message: `${flag} cannot be used with terge ${id}`,
        } as const
      const hint = flag.startsWith('--') ? didYouMean(flag, names, 'flags') : undefined
      const message = `terge ${id} has no flag ${quote(flag)}`
      return { severity: 'error', code: 'unknown-flag', message, hint: hint ?? helpOf(id) } as const
    }),
  )
}

export const unknownCommand = (name: string, commands: readonly string[]): Fault =>
  name.startsWith('-')
    ? fault(
        'unknown-flag',
        `terge has no flag ${quote(name)} before a command`,
        didYouMean(name, ['--help', '--version'], 'flags'),
      )
    : fault('unknown-command', `terge has no command ${quote(name)}`, didYouMean(name, commands, 'commands'))
