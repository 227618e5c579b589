/** Facts: labelled values, of which two sides have the same or not. */
import { isDeepStrictEqual } from 'node:util'
import { sha256 } from '../core/digest.js'
import type { Json } from '../core/json/shape.js'
import type { Fact, Facts } from './sides/types.js'
import type { Change } from './types.js'

export const label = (what: string, of?: string): string => JSON.stringify(of === undefined ? [what] : [what, of])

/** Facts from a list. Entries whose value is undefined are skipped. */
export const facts = (
  entries: readonly (readonly [what: string, value: Json | undefined, of?: string])[],
): Map<string, Fact> =>
  new Map(entries.flatMap(([what, value, of]) => (value === undefined ? [] : [[label(what, of), { value }] as const])))

/** What a record says, by its keys. Long values are only compared. */
export const saidFacts = (record: object): [string, Fact][] =>
  Object.entries(record).map(([key, value]) => {
    const text = JSON.stringify(value)
    return [label(key), text.length > LONGEST ? { mark: sha256(text) } : { value: JSON.parse(text) as Json }]
  })

const LONGEST = 100

const NONE: Facts = new Map()

/** What differs, in the order of `b`'s labels. */
export function changesOf(a: Facts = NONE, b: Facts = NONE): Change[] {
  const changes: Change[] = []
  for (const key of new Set([...b.keys(), ...a.keys()])) {
    const [before, after] = [a.get(key), b.get(key)]
    if (isDeepStrictEqual(before, after)) continue
    // That a mark comes or goes follows from something else that differs.
    const isMark = [before, after].some((fact) => fact && 'mark' in fact)
    if (isMark && !(before && after)) continue
    const [what, of] = JSON.parse(key) as [string, string?]
    changes.push({
      what,
      ...(of === undefined ? {} : { of }),
      ...(before && 'value' in before ? { a: before.value } : {}),
      ...(after && 'value' in after ? { b: after.value } : {}),
    })
  }
  return changes
}
