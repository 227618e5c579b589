/** The folder for what terge keeps between runs and for what it needs only while it runs. */
import os from 'node:os'
import path from 'node:path'

type Environment = Readonly<Record<string, string | undefined>>

/** An empty variable counts as unset. A path may start with `~`. */
export const setVariable = (text: string | undefined): string | undefined => {
  if (text === undefined || text.trim() === '') return undefined
  return /^~(?=$|[/\\])/.test(text) ? path.join(os.homedir(), text.slice(1)) : text.trim()
}

export const CACHE_VARIABLE = 'TERGE_CACHE'

export function cacheRoot(env: Environment = process.env): string {
  const caches = setVariable(env.XDG_CACHE_HOME) ?? path.join(os.homedir(), '.cache')
  return path.resolve(setVariable(env.TERGE_CACHE) ?? path.join(caches, 'terge'))
}

/** The folder for unfinished work that is not beside an output. */
export const workRoot = (env: Environment = process.env): string => path.join(cacheRoot(env), 'work')
