/** Name patterns with captures, and names indexed by their form, so that a pattern does not look at each of 60,000 names. */

export type Captures = Readonly<Record<string, string>>

export interface Name {
  readonly pattern: string
  /** The names of its captures. */
  readonly captures: readonly string[]
  /** Whether its text has no digits: it matches all names of a skeleton or none. */
  readonly plain: boolean
  /** Whether names of this skeleton may match. */
  readonly mayMatch: (skeleton: string) => boolean
  /** The values of the captures if the name matches. */
  readonly match: (name: string) => Captures | undefined
  readonly fill: (captures: Captures) => string
}

const CAPTURE = /\{(\w+)\}/
const compiled = new Map<string, Name>()

/** Compiles a pattern. Throws an internal error if a capture stands twice. */
export function nameOf(pattern: string): Name {
  const known = compiled.get(pattern)
  if (known) return known
  const pieces = pattern.split(new RegExp(CAPTURE, 'g'))
  const captures = pieces.filter((_, index) => index % 2 === 1)
  if (new Set(captures).size < captures.length) throw new Error(`internal: ${pattern} has a capture twice`)
  const source = (text: (literal: string) => string, digits: string): string =>
    pieces.map((piece, index) => (index % 2 === 1 ? `(${textOf(piece) ?? digits})` : escaped(text(piece)))).join('')
  // Families have hundreds of patterns, of which a model needs few: expressions are made when literal text allows a match.
  let test: RegExp | undefined
  let inSkeleton: RegExp | undefined
  const literals = pieces.filter((piece, index) => index % 2 === 0 && piece !== '').map(skeletonOf)
  const [start, end] = [skeletonOf(pieces[0]!), skeletonOf(pieces.at(-1)!)]
  const name: Name = {
    pattern,
    captures,
    plain: pieces.every((piece, index) => index % 2 === 1 || !/\d/.test(piece)),
    mayMatch(skeleton) {
      if (!skeleton.startsWith(start) || !skeleton.endsWith(end)) return false
      // Digits beside a capture are a part of its number in a skeleton, so that such text is not literal there.
      if (name.plain && !literals.every((literal) => skeleton.includes(literal))) return false
      inSkeleton ??= new RegExp(`^${source(skeletonOf, '#').replaceAll(/(?:#|\(#\))+/g, '#')}$`)
      return inSkeleton.test(skeleton)
    },
    match(name) {
      test ??= new RegExp(`^${source((literal) => literal, '\\d+')}$`)
      const found = test.exec(name)
      return found ? Object.fromEntries(captures.map((capture, index) => [capture, found[index + 1]!])) : undefined
    },
    fill(values) {
      let filled = pieces[0]!
      for (let at = 1; at < pieces.length; at += 2) filled += values[pieces[at]!]! + pieces[at + 1]!
      return filled
    },
  }
  compiled.set(pattern, name)
  return name
}

/** The captures of a pattern, also if it has one twice. */
export const capturesOf = (pattern: string): string[] =>
  pattern.split(new RegExp(CAPTURE, 'g')).filter((_, index) => index % 2 === 1)

const escaped = (text: string): string => text.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&')

/** What a capture is, if it is not digits. */
function textOf(capture: string): string | undefined {
  if (capture === 'prefix') return '(?:.*\\.)?'
  if (capture === 'wb') return 'weight|bias'
  return capture === 'rest' ? '.+' : undefined
}

/** A name with `#` for each number. */
const skeletonOf = (name: string): string => name.replaceAll(/\d+/g, '#')

export interface Matched {
  readonly name: string
  readonly captures: Captures
}

/** Names, grouped by skeleton: a network has few of these, whatever the number of its layers and experts. */
export interface NameIndex {
  /** The skeletons with names that match. Complete for a pattern that is `plain`. */
  readonly skeletons: (pattern: string) => readonly string[]
  readonly find: (pattern: string) => readonly Matched[]
}

const indexes = new WeakMap<object, NameIndex>()

/** The last map, as the models of a recipe mostly have the same names in the same order. */
let latest: WeakRef<ReadonlyMap<string, unknown>> | undefined

/** The index of a map's names, made once per map, and once for neighbours with the same names. */
export function indexOf(names: ReadonlyMap<string, unknown>): NameIndex {
  const known = indexes.get(names)
  if (known) return known
  const before = latest?.deref()
  const made = (before && haveSameKeys(before, names) ? indexes.get(before) : undefined) ?? makeIndex(names.keys())
  indexes.set(names, made)
  latest = new WeakRef(names)
  return made
}

function haveSameKeys(a: ReadonlyMap<string, unknown>, b: ReadonlyMap<string, unknown>): boolean {
  if (a.size !== b.size) return false
  const others = b.keys()
  for (const key of a.keys()) if (key !== others.next().value) return false
  return true
}

function makeIndex(names: Iterable<string>): NameIndex {
  const groups = new Map<string, string[]>()
  for (const name of names) {
    const skeleton = skeletonOf(name)
    const group = groups.get(skeleton)
    if (group) group.push(name)
    else groups.set(skeleton, [name])
  }
  const skeletons = new Map<string, readonly string[]>()
  const found = new Map<string, readonly Matched[]>()
  const matching = (pattern: string): readonly string[] => {
    const known = skeletons.get(pattern)
    if (known) return known
    const name = nameOf(pattern)
    const own = [...groups.keys()].filter(
      (skeleton) => name.mayMatch(skeleton) && (name.plain || groups.get(skeleton)!.some((one) => name.match(one))),
    )
    skeletons.set(pattern, own)
    return own
  }
  return {
    skeletons: matching,
    find(pattern) {
      const known = found.get(pattern)
      if (known) return known
      const { match } = nameOf(pattern)
      const all = matching(pattern).flatMap((skeleton) =>
        groups.get(skeleton)!.flatMap((name): Matched[] => {
          const captures = match(name)
          return captures ? [{ name, captures }] : []
        }),
      )
      found.set(pattern, all)
      return all
    },
  }
}
