/** Keeps numbers apart that JSON writes alike. */
const exact = (_: string, value: unknown): unknown =>
  typeof value === 'number' && (Object.is(value, -0) || !Number.isFinite(value))
    ? { number: Object.is(value, -0) ? '-0' : String(value) }
    : value

/** Hands out one object for all equal ones: what a million tensors have in common is held once. For plain data that nobody changes. */
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
