/** The tensor names nearest to a pattern that matches none, for hints. */
import { compilePattern } from '../patterns.js'
import { edits, quote } from '../suggest.js'

/** Limits, because patterns and names may be hostile: of names, of the parts of a name, and of the length of a part. */
const MOST_NAMES = 100_000
const MOST_PARTS = 32
const LONGEST_PART = 64
/** The cost of a part that only the name has, and of one that only the pattern has: the user wrote that one on purpose. */
const EXTRA = 1
const MISSING = 2
/** The share of edits above which two parts are unlike, and the cost of such a pair: one of each is unpaired. */
const MOST_EDITS = 0.7
const UNLIKE = EXTRA + MISSING
/** The least cost of two different numbers: another layer is nearer than another module. */
const OTHER_NUMBER = 0.5

/** The hint for a pattern that matches no name. Undefined if there are no names. */
export function nearNamesHint(pattern: string, names: readonly string[]): string | undefined {
  if (names.length === 0) return undefined
  const wider = matching(widened(pattern), names)
  if (wider !== undefined) return `* matches within one part of a name, ** across parts: did you mean ${quote(wider)}?`
  const near = nearNames(pattern, names)
  if (near.length > 0) return `nearest names: ${near.join(', ')}`
  const within = pattern.includes('*') ? undefined : matching(around(pattern), names)
  if (within !== undefined) return `a pattern without * is a whole name: did you mean ${quote(within)}?`
  return `similar names do not exist; the first names are: ${names.slice(0, 3).join(', ')}`
}

/** The pattern with `**` in place of the last `*`, the first one, all of them, and at its ends. */
function widened(pattern: string): string[] {
  const single = /(?<!\*)\*(?!\*)/g
  if (isRegex(pattern) || !single.test(pattern)) return []
  const all = pattern.replace(single, '**')
  const last = pattern.replace(/(?<!\*)\*(?!\*)(?!.*(?<!\*)\*(?!\*))/, '**')
  const first = pattern.replace(/(?<!\*)\*(?!\*)/, '**')
  return [last, first, all, `**${all}**`.replace(/\*{3,}/g, '**')]
}

/** Patterns for a text that is whole parts of a name, or a piece of one. */
const around = (text: string): string[] =>
  isRegex(text) ? [] : [`**.${text}`, `${text}.**`, `**.${text}.**`, `**${text}**`]

const isRegex = (pattern: string): boolean => pattern.startsWith('/') && pattern.endsWith('/')

/** The first of some patterns that matches a name. */
function matching(patterns: readonly string[], names: readonly string[]): string | undefined {
  const some = names.slice(0, MOST_NAMES)
  return patterns.find((text) => {
    const pattern = compilePattern(text)
    return pattern.kind !== 'fault' && some.some(pattern.matches)
  })
}

/**
 * The names nearest to a pattern, nearest first, ties in the order of names. Compares the dotted parts of the pattern
 * with those of each name: `*` is any text in a part, `**` any parts, and a regular expression is the words in it.
 * Skips names that have no part in common with the pattern.
 */
export function nearNames(pattern: string, names: readonly string[], most = 3): string[] {
  const parts = partsOf(pattern.toLowerCase())
  if (parts.length > MOST_PARTS) return []
  const nothingShared = MISSING * parts.filter((part) => !/^\*+$/.test(part)).length
  const costs = parts.map((part) => rememberedCost(part))
  return names
    .slice(0, MOST_NAMES)
    .map((name, order) => ({ name, order, cost: nameCost(parts, costs, name.toLowerCase().split('.')) }))
    .filter(({ cost }) => cost < nothingShared)
    .sort((a, b) => a.cost - b.cost || a.order - b.order)
    .slice(0, most)
    .map(({ name }) => name)
}

/** The parts of a pattern. `**` is always a part of its own. */
function partsOf(pattern: string): string[] {
  if (pattern.length > 1 && pattern.startsWith('/') && pattern.endsWith('/')) {
    const words = pattern.replace(/\\[a-z]/g, ' ').match(/[a-z0-9_]+/g) ?? []
    return ['**', ...words.flatMap((word) => [/^\d+$/.test(word) ? word : `*${word}*`, '**'])]
  }
  return pattern
    .replace(/\*{2,}/g, '**')
    .split('.')
    .flatMap((part) => {
      if (part === '**') return [part]
      const pieces = part.split('**')
      return pieces.flatMap((piece, index) => {
        const open = `${index > 0 && piece !== '' ? '*' : ''}${piece}${index < pieces.length - 1 && piece !== '' ? '*' : ''}`
        return [...(index > 0 ? ['**'] : []), ...(open === '' && pieces.length > 1 ? [] : [open])]
      })
    })
}

/** The same parts are in many names. */
function rememberedCost(part: string): (other: string) => number {
  const known = new Map<string, number>()
  return (other) => {
    const cost = known.get(other) ?? partCost(part, other)
    known.set(other, cost)
    return cost
  }
}

/** How different a part of a name is from a part of the pattern: 0 to 1, and more for unlike parts. */
function partCost(part: string, other: string): number {
  if (part === other || part === '*') return 0
  if (part.length > LONGEST_PART || other.length > LONGEST_PART) return UNLIKE
  if (/^\d+$/.test(part) && /^\d+$/.test(other))
    return OTHER_NUMBER + Math.min(Math.abs(Number(part) - Number(other)), 999) / 2000
  const cost = part.includes('*') ? wildDistance(part, other) : edits(part, other)
  const length = part.includes('*') ? part.replaceAll('*', '').length : Math.max(part.length, other.length)
  const share = cost / Math.max(1, length)
  return share > MOST_EDITS ? UNLIKE : share
}

/** Levenshtein distance, where `*` in the pattern matches any text. */
function wildDistance(pattern: string, text: string): number {
  let before = Array.from({ length: text.length + 1 }, (_, at) => at)
  for (const sign of pattern) {
    const row = [sign === '*' ? before[0]! : before[0]! + 1]
    for (let at = 1; at <= text.length; at++) {
      const edited = Math.min(row[at - 1]! + 1, before[at]! + 1, before[at - 1]! + (sign === text[at - 1] ? 0 : 1))
      row.push(sign === '*' ? Math.min(before[at]!, row[at - 1]!) : edited)
    }
    before = row
  }
  return before.at(-1)!
}

/** The least sum of costs over all ways to pair the parts of a pattern with those of a name, in order. */
function nameCost(
  parts: readonly string[],
  costs: readonly ((other: string) => number)[],
  name: readonly string[],
): number {
  if (name.length > MOST_PARTS) return Infinity
  let before = Array.from({ length: name.length + 1 }, (_, count) => count * EXTRA)
  for (const [index, part] of parts.entries()) {
    const any = part === '**'
    const row = [any ? before[0]! : before[0]! + MISSING]
    for (let at = 1; at <= name.length; at++)
      row.push(
        any
          ? Math.min(before[at]!, row[at - 1]!)
          : Math.min(row[at - 1]! + EXTRA, before[at]! + MISSING, before[at - 1]! + costs[index]!(name[at - 1]!)),
      )
    before = row
  }
  return before.at(-1)!
}
