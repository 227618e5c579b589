import { createRequire } from 'node:module'
import { printable } from './printable.js'

const require = createRequire(import.meta.url)
const { distance } = require('fastest-levenshtein') as typeof import('fastest-levenshtein')

/** Longer names are not compared, since hostile ones would cost time. */
const LONGEST = 256

/**
 * The candidates nearest to a misspelled name, nearest first, ties in the order of candidates. Only candidates within a
 * third of the name's length count, so that every suggestion is plausible.
 */
export function nearest(name: string, candidates: Iterable<string>, most = 3): string[] {
  if (name.length > LONGEST) return []
  const lower = name.toLowerCase()
  const allowed = Math.max(1, Math.floor(name.length / 3))
  const found: { candidate: string; cost: number; order: number }[] = []
  let order = 0
  for (const candidate of candidates) {
    order++
    if (candidate.length > LONGEST || candidate === name || Math.abs(candidate.length - name.length) > allowed) continue
    const other = candidate.toLowerCase()
    const cost = edits(lower, other)
    // A name that shares no character with the candidate is not a misspelling of it.
    if (cost <= allowed && cost < Math.max(candidate.length, name.length)) found.push({ candidate, cost, order })
  }
  found.sort((a, b) => a.cost - b.cost || a.order - b.order)
  return found.slice(0, most).map(({ candidate }) => candidate)
}

/** How many edits make one text from the other. Two swapped neighbours are one edit. */
export const edits = (a: string, b: string): number => (swapped(a, b) ? 1 : distance(a, b))

/**
 * Whether two neighbouring characters are swapped. This is a common mistake, but counts as two edits in Levenshtein
 * distance.
 */
function swapped(a: string, b: string): boolean {
  if (a.length !== b.length) return false
  let i = 0
  while (i < a.length && a[i] === b[i]) i++
  return i + 1 < a.length && a[i] === b[i + 1] && a[i + 1] === b[i] && a.slice(i + 2) === b.slice(i + 2)
}

/** A name for a message: quoted, shortened, and without characters that could control a terminal. */
export function quote(text: string): string {
  const short = text.length > 80 ? `${text.slice(0, 77)}…` : text
  return `'${printable(short)}'`
}

/** The hint for a text where a number is expected. */
export const quotedNumberHint = (value: unknown): string | undefined =>
  typeof value === 'string' && /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(value)
    ? `write ${value} without quotes`
    : undefined

/** The hint for an unknown name: the nearest candidate, or the list of candidates. */
export function didYouMean(name: string, candidates: Iterable<string>, kind = 'known'): string | undefined {
  const all = [...new Set(candidates)]
  const [best] = nearest(name, all, 1)
  if (best !== undefined) return `did you mean ${quote(best)}?`
  if (all.length === 0) return undefined
  const shown = all.slice(0, 12).map(quote).join(', ')
  return `${kind}: ${shown}${all.length > 12 ? `, and ${all.length - 12} more` : ''}`
}
