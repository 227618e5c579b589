import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { stripVTControlCharacters } from 'node:util'
import { widthOf, wrapped, wrappedLines } from '../../ui/fit.js'
import { COMMANDS, loadCommand } from '../map.js'

/** Where commands are indented in examples, and the columns that ` \` at the end of a line takes. */
const INDENT = 4
const CONTINUES = 2

/** Wraps a line that is too long, except a command of an example. */
const fitting = (line: string, width: number): string =>
  stripVTControlCharacters(line).length <= width || /^ *\$ /.test(line) ? line : wrappedLines(line, width, '')

/** A command that can be copied: broken only between words, with a backslash. */
const commandLines = (command: string, width: number): string =>
  wrapped(`$ ${command}`, width - INDENT - CONTINUES, '  ')
    .split('\n')
    .map((line) => `  ${line}`)
    .join(' \\\n')

/** Prints the help of a command or of the program. Resolves to the exit code. */
export async function help(subject: string | undefined, url: string): Promise<number> {
  if (subject !== undefined) await loadCommand(subject)
  const { Config } = (await import('@oclif/core/config')).default
  const { CommandHelp, Help, HelpFormatter } = (await import('@oclif/core/help')).default
  const config = await Config.load({ root: path.dirname(fileURLToPath(url)) })
  const width = widthOf(process.stdout)
  // oclif breaks words that are too long: nobody could copy an address or a path.
  class WholeWords extends HelpFormatter {
    override wrap(body: string, spacing = this.indentSpacing): string {
      const lines = this.render(body).split('\n')
      return lines.map((line) => wrapped(line.trim(), this.opts.maxWidth - spacing, '')).join('\n')
    }
  }
  HelpFormatter.prototype.wrap = WholeWords.prototype.wrap
  class ExampleHelp extends CommandHelp {
    /** oclif knows only commands that begin with its own name. */
    protected override examples(examples: Parameters<InstanceType<typeof CommandHelp>['examples']>[0]) {
      return [examples ?? []]
        .flat()
        .map((example) => {
          const lines = this.render(typeof example === 'string' ? example : example.command).split('\n')
          const about = lines.slice(0, -1).map((line) => `${this.wrap(line)}\n\n`)
          return about.join('') + commandLines(lines.at(-1)!, this.opts.maxWidth)
        })
        .join('\n\n')
    }
  }
  // oclif sorts commands by name, and does not count the indent of what it wraps.
  class OrderedHelp extends Help {
    protected override CommandHelpClass = ExampleHelp
    protected override log(...parts: string[]): void {
      super.log(
        ...parts.map((part) =>
          part
            .split('\n')
            .map((line) => fitting(line, width))
            .join('\n'),
        ),
      )
    }
    protected override get sortedCommands() {
      const order = Object.keys(COMMANDS)
      return super.sortedCommands.sort((a, b) => order.indexOf(a.id) - order.indexOf(b.id))
    }
  }
  await new OrderedHelp(config, config.pjson.oclif.helpOptions).showHelp(subject === undefined ? [] : [subject])
  return 0
}
