/** Distinguishes numbers that JSON writes in the same way. */
const exact = (_: string, value: unknown): unknown =>
  typeof value === 'number' && (Object.is(value, -0) || !Number.isFinite(value))
    ? { number: Object.is(value, -0) ? '-0' : String(value) }
    : value

/**
 * Returns one shared object for all equal ones, so that a million tensors do not repeat it. Only for plain data that
 * nobody changes.
 */
export function sharer(): <T>(value: T) => T {
  const known = new Map<string, unknown>()
  return <T>(value: T): T => {
    const key = JSON.stringify(value, exact)
    const before = known.get(key)
    if (before !== undefined) return before as T
    known.set(key, value)
    return value
  }
}
