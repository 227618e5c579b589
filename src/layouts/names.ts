/** Name patterns with captures. */

export type Captures = Readonly<Record<string, string>>

export interface Name {
  readonly pattern: string
  /** The names of its captures. */
  readonly captures: readonly string[]
  /** The values of the captures if the name matches. */
  readonly match: (name: string) => Captures | undefined
  readonly fill: (captures: Captures) => string
}

const CAPTURE = /\{(\w+)\}/
const compiled = new Map<string, Name>()

/** Compiles a pattern. Throws an internal error if `{prefix}` is not at the beginning or a capture stands twice. */
export function nameOf(pattern: string): Name {
  const known = compiled.get(pattern)
  if (known) return known
  const pieces = pattern.split(new RegExp(CAPTURE, 'g'))
  const captures = pieces.filter((_, index) => index % 2 === 1)
  if (new Set(captures).size < captures.length) throw new Error(`internal: ${pattern} has a capture twice`)
  const source = pieces.map((piece, index) => (index % 2 === 1 ? `(${textOf(piece)})` : escaped(piece))).join('')
  const test = new RegExp(`^${source}$`)
  const name: Name = {
    pattern,
    captures,
    match(name) {
      // Families have hundreds of patterns, and most names fail at the first letters.
      if (!name.startsWith(pieces[0]!)) return undefined
      const found = test.exec(name)
      return found ? Object.fromEntries(captures.map((capture, index) => [capture, found[index + 1]!])) : undefined
    },
    fill: (values) => pieces.map((piece, index) => (index % 2 === 1 ? values[piece]! : piece)).join(''),
  }
  compiled.set(pattern, name)
  return name
}

const escaped = (text: string): string => text.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&')

/** What a capture stands for. */
function textOf(capture: string): string {
  if (capture === 'prefix') return '(?:.*\\.)?'
  if (capture === 'wb') return 'weight|bias'
  return capture === 'rest' ? '.+' : '\\d+'
}
