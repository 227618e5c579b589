import { setFlagsFromString } from 'node:v8'
import { Fault, fault } from '../core/diagnostics.js'
import { systemFault } from '../core/resources.js'
import { loadCommand } from './map.js'
import { saveAddressSpace } from './support/addressSpace.js'
import { chooseMessages, complain, print, quietPipes } from './support/print.js'

const HELP = ['--help', '-h']
const VERSION_FLAGS = ['--version', '-v']

/** The program. `argv` without Node and script; `url` of `bin/run.js`. Sets the exit code and never throws. */
export async function main(argv: readonly string[], url: string): Promise<void> {
  // Otherwise the garbage of a small heap may take four times its memory before it is collected, as while a plan is made.
  setFlagsFromString('--heap-growing-percent=100')
  quietPipes()
  try {
    process.exitCode = await Promise.race([dispatch(argv, url), nothingLeft()])
  } catch (error) {
    process.exitCode = reportError(error)
  }
}

/** Rejects when the event loop is empty: what still waits would wait forever, and Node would exit without a message. */
const nothingLeft = (): Promise<never> =>
  new Promise((_, reject) => {
    process.once('beforeExit', () => reject(new Error('internal: the run is waiting for an event that never comes')))
  })

/** Chooses and loads one command, so that starting does not pay for the others. */
async function dispatch(argv: readonly string[], url: string): Promise<number> {
  const [name, ...rest] = argv
  if (name === 'version' || VERSION_FLAGS.includes(name ?? '')) {
    const { VERSION } = await import('../core/version.js')
    print(`terge ${VERSION}`)
    return 0
  }
  const wantsHelp = name === undefined || name === 'help' || HELP.includes(name)
  const options = rest.includes('--') ? rest.slice(0, rest.indexOf('--')) : rest
  chooseMessages(options)
  if (wantsHelp || options.some((option) => HELP.includes(option))) {
    const subject = wantsHelp ? rest.find((word) => !word.startsWith('-')) : name
    const { help } = await import('./support/help.js')
    return help(subject, url)
  }
  saveAddressSpace()
  const command = await loadCommand(name)
  return command.run(rest)
}

/** Prints an error. Returns the exit code. */
function reportError(error: unknown): number {
  if (error instanceof Fault) {
    complain(error.diagnostics)
    return error.exit
  }
  const { name, message, stack } = error as Error
  if (name === 'AbortError') {
    complain(fault('interrupted', 'interrupted').diagnostics)
    return 130
  }
  const refused = systemFault(error)
  if (refused) {
    complain(refused.diagnostics)
    return refused.exit
  }
  const text = String(message ?? error).replace(/^internal: /, '')
  const hint = 'this is a bug in terge: report it with this text and the recipe'
  complain([{ severity: 'error', code: 'internal', message: [text, ...stackLines(stack)].join('\n'), hint }])
  return 1
}

const stackLines = (stack: string | undefined): string[] =>
  (stack ?? '')
    .split('\n')
    .filter((line) => line.startsWith('    at '))
    .slice(0, 8)
