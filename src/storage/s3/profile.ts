/** A profile of the AWS tools: keys from the files `config` and `credentials`. */
import os from 'node:os'
import path from 'node:path'
import { readRegular } from '../local/regular.js'

export type Environment = Readonly<Record<string, string | undefined>>

export interface Profile {
  readonly name: string
  /** Whether a variable names it. */
  readonly chosen: boolean
  /** Whether one of the files has it. */
  readonly found: boolean
  /** `credentials` has priority over `config`. */
  readonly keys: ReadonlyMap<string, string>
}

/** In bytes. A file with hundreds of profiles has fewer. */
const MOST_BYTES = 4 * 2 ** 20

export async function readProfile(env: Environment): Promise<Profile> {
  const chosen = [env.AWS_PROFILE, env.AWS_DEFAULT_PROFILE].find((text) => text !== undefined && text !== '')
  const name = chosen ?? 'default'
  const config = await sectionsOf(placeOf(env.AWS_CONFIG_FILE, 'config'))
  const stored = await sectionsOf(placeOf(env.AWS_SHARED_CREDENTIALS_FILE, 'credentials'))
  // In `config` all profiles but the default one have a prefix.
  const parts = [config.get(name === 'default' ? name : `profile ${name}`), stored.get(name)]
  return {
    name,
    chosen: chosen !== undefined,
    found: parts.some((part) => part !== undefined),
    keys: new Map(parts.flatMap((part) => [...(part ?? [])])),
  }
}

function placeOf(text: string | undefined, name: string): string {
  if (text === undefined || text === '') return path.join(os.homedir(), '.aws', name)
  return /^~(?=$|[/\\])/.test(text) ? path.join(os.homedir(), text.slice(1)) : text
}

/** The sections of a file; empty if it cannot be read. Indented lines belong to a nested section, which terge does not use. */
async function sectionsOf(file: string): Promise<Map<string, Map<string, string>>> {
  const text = (await readRegular(file, { most: MOST_BYTES }).catch(() => '')).toString()
  const sections = new Map<string, Map<string, string>>()
  let current: Map<string, string> | undefined
  for (const line of text.split(/\r?\n/)) {
    const header = /^\[\s*([^\]]+?)\s*\]/.exec(line)?.[1]?.replace(/\s+/g, ' ')
    if (header !== undefined) {
      current = sections.get(header) ?? new Map()
      sections.set(header, current)
      continue
    }
    const [, key, value] = /^([A-Za-z_][\w-]*)\s*=\s*(.*?)\s*$/.exec(line) ?? []
    if (key !== undefined && value !== '') current?.set(key.toLowerCase(), value!.replace(/\s+[#;].*$/, ''))
  }
  return sections
}
