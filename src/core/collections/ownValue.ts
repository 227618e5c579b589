/** A table's entry under a name from outside: `constructor` and `__proto__` are names like any other, and not there. */
export const ownValue = <T>(table: Readonly<Record<string, T>>, name: string): T | undefined =>
  Object.hasOwn(table, name) ? table[name] : undefined

/** A table for names from outside: without a prototype, assigning to `__proto__` makes an entry. */
export const emptyTable = <T>(): Record<string, T> => Object.create(null) as Record<string, T>

/** A record for names from outside: without a prototype, so that `__proto__` is a name like any other. */
export function recordOf<T>(entries: Iterable<readonly [string, T]>): Record<string, T> {
  const record: Record<string, T> = Object.create(null)
  for (const [key, value] of entries) record[key] = value
  return record
}
