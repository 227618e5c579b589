import type { ArgInput, FlagInput } from '@oclif/core/interfaces'
import { usageFault } from './usage.js'

/** A command as oclif's tools expect it: a declaration with a `run`. */
export interface Command {
  readonly id: string
  readonly summary: string
  readonly description: string
  /** `<%= config.bin %> …`, or one line that explains the command and one with the command. */
  readonly examples: readonly string[]
  readonly args: ArgInput
  readonly flags: FlagInput
  /** Resolves to the exit code. Throws a `Fault` for errors that the user can fix. */
  readonly run: (argv: readonly string[]) => Promise<number>
}

/** As oclif constrains what its parser gives. */
// biome-ignore lint/suspicious/noExplicitAny: oclif's own type
type Output = Record<string, any>

interface Declaration<A extends Output, F extends Output> {
  readonly id: string
  readonly summary: string
  readonly description: string
  readonly examples: readonly string[]
  readonly args: ArgInput<A>
  readonly flags: FlagInput<F>
  /** Flags of a similar command that this one cannot have, and what to do instead. */
  readonly refused?: Readonly<Record<string, string>>
  /** Does the work. Resolves to the exit code. */
  readonly execute: (input: { readonly args: A; readonly flags: F }) => Promise<number>
}

/** Makes a command from its declaration: it parses the arguments and calls `execute`. */
export function defineCommand<A extends Output, F extends Output>(declaration: Declaration<A, F>): Command {
  const { execute, ...rest } = declaration
  return {
    ...rest,
    async run(argv) {
      const { parse } = (await import('@oclif/core/parser')).default
      const { args, flags } = await parse<F, object, A>([...argv], {
        args: rest.args,
        flags: rest.flags,
        strict: true,
      }).catch((error: unknown) => {
        throw usageFault(error, rest)
      })
      return execute({ args, flags })
    },
  }
}
