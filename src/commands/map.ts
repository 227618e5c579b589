import { ownValue } from '../core/collections/ownValue.js'
import type { Command } from './support/command.js'

/** Loaders of all commands by name, in the order of the help: the order of work, then the rest. */
export const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  init: async () => (await import('./init.js')).init,
  validate: async () => (await import('./validate.js')).validate,
  plan: async () => (await import('./plan.js')).plan,
  run: async () => (await import('./run.js')).run,
  search: async () => (await import('./search.js')).search,
  verify: async () => (await import('./proof/verify.js')).verify,
  sign: async () => (await import('./proof/sign.js')).sign,
  report: async () => (await import('./proof/report.js')).report,
  trace: async () => (await import('./proof/trace.js')).trace,
  submit: async () => (await import('./submit.js')).submit,
  merge: async () => (await import('./merge.js')).merge,
  convert: async () => (await import('./convert.js')).convert,
  inspect: async () => (await import('./inspect.js')).inspect,
  diff: async () => (await import('./diff.js')).diff,
  lock: async () => (await import('./proof/lock.js')).lock,
  import: async () => (await import('./import.js')).importConfig,
  methods: async () => (await import('./methods.js')).methods,
  completions: async () => (await import('./completions/index.js')).completionsFor(loadAll),
}

const loadAll = (): Promise<Command[]> => Promise.all(Object.values(COMMANDS).map((load) => load()))

/** Loads a command by name. Errors: `unknown-command`, and `unknown-flag` for a name that starts with a dash. */
export async function loadCommand(name: string): Promise<Command> {
  const load = ownValue(COMMANDS, name)
  if (load) return load()
  const { unknownCommand } = await import('./support/usage.js')
  throw unknownCommand(name, Object.keys(COMMANDS))
}
