/** Values without duplicates, numbered in the order of first use. */
export interface Distinct<T> {
  readonly list: readonly T[]
  /** The number of a value: its index in `list`. */
  index(value: T): number
}

/** Two values are the same if `keyOf` gives the same key. */
export function distinct<T>(keyOf: (value: T) => string | number): Distinct<T> {
  const list: T[] = []
  const places = new Map<string | number, number>()
  return {
    list,
    index(value) {
      const key = keyOf(value)
      const known = places.get(key)
      if (known !== undefined) return known
      places.set(key, list.length)
      return list.push(value) - 1
    },
  }
}
