import { type Command, defineCommand } from '../support/command.js'
import { Args } from '../support/flags.js'
import { print } from '../support/print.js'

const SHELLS = ['bash', 'zsh', 'fish'] as const

/** What may follow `terge` besides commands. */
const TOP = ['help', 'version', '--help', '--version']

/** The command needs the declarations of all commands, itself included. */
export const completionsFor = (load: () => Promise<readonly Command[]>): Command =>
  defineCommand({
    id: 'completions',
    summary: 'Print completions for a shell.',
    description:
      'Completes commands, flags, files, and values such as names of merge methods. Save the script where the shell looks for it, ' +
      'and again after an update of terge.',
    examples: [
      'Install for bash\n<%= config.bin %> completions bash > ~/.local/share/bash-completion/completions/terge',
      // biome-ignore lint/suspicious/noTemplateCurlyInString: the shell's.
      'Install for zsh, in a folder of $fpath\n<%= config.bin %> completions zsh > "${fpath[1]}/_terge"',
      'Install for fish\n<%= config.bin %> completions fish > ~/.config/fish/completions/terge.fish',
      'Use in this shell only (bash or zsh)\neval "$(<%= config.bin %> completions bash)"',
    ],
    args: {
      shell: Args.string({ description: 'bash, zsh or fish', options: SHELLS, required: true, ignoreStdin: true }),
    },
    flags: {},
    async execute({ args: { shell } }) {
      const { wordsOf } = await import('./words.js')
      const { listLayouts, listMethods } = await import('../../index.js')
      const methods = listMethods().flatMap(({ name, aliases }) => [name, ...aliases])
      const words = wordsOf(await load(), {
        METHOD: methods,
        NAME: methods,
        LAYOUT: listLayouts().map(({ name }) => name),
      })
      print((await writerOf(shell))(words, TOP))
      return 0
    },
  })

async function writerOf(shell: string) {
  if (shell === 'zsh') return (await import('./zsh.js')).zsh
  if (shell === 'fish') return (await import('./fish.js')).fish
  return (await import('./bash.js')).bash
}
