/**
 * Patterns of paths: `*` matches any text, also none, within one part of a path. Every other character means itself. A part that starts
 * with `*` does not match names that start with a dot, as in a shell. A pattern that ends in a slash matches only folders.
 */

export interface PathPattern {
  /** As written. */
  readonly text: string
  /** What comes before the first part with a `*`, with its slash. */
  readonly root: string
  /** The parts from the first one with a `*` on. */
  readonly parts: readonly string[]
  readonly folders: boolean
}

/** In characters. Matching takes time in proportion to the length of the pattern and of the name. */
const LONGEST = 1000

/** Whether a path has a `*`. */
export const hasStar = (written: string): boolean => written.includes('*')

/** A pattern, or what is wrong with it and how to write it. */
export function parsePathPattern(
  text: string,
  platform: string = process.platform,
): PathPattern | { readonly problem: string; readonly hint: string } {
  if (text.length > LONGEST)
    return { problem: `has more than ${LONGEST} characters`, hint: 'write a shorter pattern of paths' }
  const path = platform === 'win32' ? text.replaceAll('\\', '/') : text
  const start = path.lastIndexOf('/', path.indexOf('*')) + 1
  const parts = path
    .slice(start)
    .split('/')
    .filter((part) => part !== '' && part !== '.')
  if (parts.some((part) => part.includes('**')))
    return {
      problem: "has '**', but a pattern of paths has no pattern for any number of folders",
      hint: 'write one * for each folder: runs/*/checkpoint-*',
    }
  if (parts.includes('..'))
    return { problem: "has '..' after a *", hint: 'write .. only before the first part with a *' }
  return { text, root: path.slice(0, start), parts, folders: path.endsWith('/') }
}

/** Whether a name matches a part of a pattern. Never slower than the lengths of both, multiplied. */
export function partMatches(part: string, name: string): boolean {
  if (!part.includes('*')) return part === name
  if (name.startsWith('.') && part.startsWith('*')) return false
  const pieces = part.split('*')
  const [first, last] = [pieces[0]!, pieces.at(-1)!]
  if (name.length < first.length + last.length || !name.startsWith(first) || !name.endsWith(last)) return false
  let at = first.length
  const end = name.length - last.length
  // The earliest place of each piece leaves the most room for the next ones.
  for (const piece of pieces.slice(1, -1)) {
    const found = name.indexOf(piece, at)
    if (found < 0 || found + piece.length > end) return false
    at = found + piece.length
  }
  return true
}

/** What a path has after the pattern's root, if it matches; undefined if not. */
export function matchedBy({ root, parts }: PathPattern, path: string): string | undefined {
  if (!path.startsWith(root)) return undefined
  const own = path.slice(root.length).split('/')
  return own.length === parts.length && parts.every((part, i) => partMatches(part, own[i]!)) ? own.join('/') : undefined
}
