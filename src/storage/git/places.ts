import { realpathSync } from 'node:fs'
import path from 'node:path'

/** The real path of a file that exists or not. */
export function settle(file: string): string {
  try {
    return realpathSync(file)
  } catch {
    const folder = path.dirname(file)
    return folder === file ? file : path.join(settle(folder), path.basename(file))
  }
}
