import { COMMANDS } from './map.js'
import type { Command } from './support/command.js'

/** All commands, loaded, for oclif's tools (help, manifest, readme). `oclif.commands` in package.json names this file. */
const loaded: Record<string, Command> = {}
for (const [id, load] of Object.entries(COMMANDS)) loaded[id] = await load()

export default loaded
