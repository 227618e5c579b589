import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { COMMANDS, loadCommand } from './map.js'

/** Prints the help of a command or of the program. Resolves to the exit code. */
export async function help(subject: string | undefined, url: string): Promise<number> {
  if (subject !== undefined) await loadCommand(subject)
  const { Config } = (await import('@oclif/core/config')).default
  const { Help } = (await import('@oclif/core/help')).default
  const config = await Config.load({ root: path.dirname(fileURLToPath(url)) })
  // oclif sorts commands by name.
  class OrderedHelp extends Help {
    protected override get sortedCommands() {
      const order = Object.keys(COMMANDS)
      return super.sortedCommands.sort((a, b) => order.indexOf(a.id) - order.indexOf(b.id))
    }
  }
  await new OrderedHelp(config, config.pjson.oclif.helpOptions).showHelp(subject === undefined ? [] : [subject])
  return 0
}
