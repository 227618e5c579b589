/** The entry of a table for an untrusted name. Inherited names such as `constructor` and `__proto__` are undefined. */
export const ownValue = <T>(table: Readonly<Record<string, T>>, name: string): T | undefined =>
  Object.hasOwn(table, name) ? table[name] : undefined

/** A table for untrusted names. It has no prototype, so assigning to `__proto__` makes an entry. */
export const emptyTable = <T>(): Record<string, T> => Object.create(null) as Record<string, T>

/** A record for untrusted names. It has no prototype, so that `__proto__` is an ordinary name. */
export function recordOf<T>(entries: Iterable<readonly [string, T]>): Record<string, T> {
  const record: Record<string, T> = Object.create(null)
  for (const [key, value] of entries) record[key] = value
  return record
}
