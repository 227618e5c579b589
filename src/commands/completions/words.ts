/** What a shell can complete, from the declarations of the commands. */
import type { Command } from '../support/command.js'

/** What follows: files, one of these words, or something that nobody can guess. */
export type Value = 'files' | 'unknown' | readonly string[]

export interface FlagWords {
  /** `--output`, and `-o` if there is one. */
  readonly names: readonly string[]
  readonly description: string
  /** Absent for a flag without a value. */
  readonly value?: Value
  /** The name of the value in the help. */
  readonly label: string
  readonly repeats: boolean
}

export interface CommandWords {
  readonly id: string
  readonly summary: string
  readonly flags: readonly FlagWords[]
  /** What its arguments are. */
  readonly args: Value
  readonly repeats: boolean
}

/** Words that a declaration names, but does not list: by the name of a flag's value, or of an argument. */
export type Lists = Readonly<Record<string, readonly string[]>>

/** Values with these names in the help are paths. */
const PATHS = ['FILE', 'PATH', 'FOLDER', 'MODEL']

const HELP: FlagWords = { names: ['--help', '-h'], description: 'show help', label: '', repeats: false }

export const wordsOf = (commands: readonly Command[], lists: Lists): readonly CommandWords[] =>
  commands.map(({ id, summary, flags, args }) => {
    const entries = Object.entries(args)
    const [first] = entries
    return {
      ...{ id, summary },
      flags: [
        ...Object.entries(flags).map(([name, flag]): FlagWords => {
          const {
            char,
            description = '',
            multiple = false,
          } = flag as { char?: string; description?: string; multiple?: boolean }
          const names = [`--${name}`, ...(char === undefined ? [] : [`-${char}`])]
          if (flag.type === 'boolean') return { ...{ names, description }, label: '', repeats: false }
          const { options, helpValue } = flag as { options?: readonly string[]; helpValue?: string }
          const label = helpValue ?? name.toUpperCase()
          const value = options ?? lists[label] ?? (PATHS.includes(label) ? 'files' : 'unknown')
          return { names, description, value, label, repeats: multiple }
        }),
        HELP,
      ],
      // All arguments of a command are of one kind.
      args: first ? (first[1].options ?? lists[first[0].toUpperCase()] ?? 'files') : 'unknown',
      repeats: entries.length > 1 || first?.[1].multiple === true,
    }
  })

/** The first line of a text, without its full stop. */
export const short = (text: string): string => text.split('\n')[0]!.replace(/\.$/, '')
