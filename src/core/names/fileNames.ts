/** Names of files that some systems read in another way. The platform is a parameter, so that tests can choose it. */
import path from 'node:path'
import { quote } from '../suggest.js'

const DEVICES = /^(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$) *(\.|$)/i

/** Why Windows can't have a file or folder of this name, as text that follows the name; undefined if it can. */
export function refusedByWindows(name: string): string | undefined {
  const [character] = /[<>:"|?*\u0000-\u001f]/.exec(name) ?? []
  if (character !== undefined) return `has the character ${JSON.stringify(character)}`
  if (DEVICES.test(name)) return 'is the name of a device'
  return name !== '.' && name !== '..' && /[. ]$/.test(name) ? 'ends in a dot or a space' : undefined
}

/** The first name in a path that this system can't have, and why; undefined if it can have all. */
export function refusedName(written: string, platform = process.platform): string | undefined {
  if (platform !== 'win32') return undefined
  for (const name of written.replace(/^[a-z]:/i, '').split(/[\\/]/)) {
    const reason = refusedByWindows(name)
    if (reason !== undefined) return `${quote(name)} ${reason}`
  }
  return undefined
}

/** A path as its writer meant it, if it has the separators of Windows and this is another system. */
export const meantPath = (written: string, platform = process.platform): string | undefined =>
  platform !== 'win32' && written.includes('\\') ? written.replaceAll('\\', '/') : undefined

/** The beginning of a text that is an address (`s3://`, `https://`, `hf:`) and not a path; undefined for paths. */
export const addressIn = (written: string): string | undefined => /^(?:hf:|[a-z][a-z0-9+.-]+:\/\/)/i.exec(written)?.[0]

/** The hint for a path that has the separators of Windows. */
export const slashHint = (meant: string): string => `write ${quote(meant)}: only Windows separates folders with \\`

/** A key that is equal for paths of one file: on Windows and macOS, names that differ in case are one. */
export const samePath = (absolute: string, platform = process.platform): string =>
  platform === 'win32' || platform === 'darwin' ? absolute.normalize('NFC').toLowerCase() : absolute

/** A relative path of this system as recipes and lineages write it. */
export const withSlashes = (relative: string, separator: string = path.sep): string =>
  relative.split(separator).join('/')
