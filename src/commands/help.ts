import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { stripVTControlCharacters } from 'node:util'
import { widthOf, wrappedLines } from '../ui/fit.js'
import { COMMANDS, loadCommand } from './map.js'

/** Wraps a line that is too long, except a command of an example. */
const fitting = (line: string, width: number): string =>
  stripVTControlCharacters(line).length <= width || /^ *\$ /.test(line) ? line : wrappedLines(line, width, '')

/** Prints the help of a command or of the program. Resolves to the exit code. */
export async function help(subject: string | undefined, url: string): Promise<number> {
  if (subject !== undefined) await loadCommand(subject)
  const { Config } = (await import('@oclif/core/config')).default
  const { Help } = (await import('@oclif/core/help')).default
  const config = await Config.load({ root: path.dirname(fileURLToPath(url)) })
  const width = widthOf(process.stdout)
  // oclif sorts commands by name, and does not count the indent of what it wraps.
  class OrderedHelp extends Help {
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
