/** Distinguishes numbers that JSON writes in the same way. */
const exact = (_: string, value: unknown): unknown =>
  typeof value === 'number' && (Object.is(value, -0) || !Number.isFinite(value))
    ? { number: Object.is(value, -0) ? '-0' : String(value) }
    : value

const RECENT = 4

/** Whether two lists or objects have the same values in the same order. Values that are objects themselves count as different. */
function isSame(a: unknown, b: unknown): boolean {
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  if (Array.isArray(a) && Array.isArray(b))
    return a.length === b.length && a.every((one, at) => isSameValue(one, b[at]))
  if (Array.isArray(a) || Array.isArray(b)) return false
  const [own, other] = [Object.keys(a), Object.keys(b)]
  return (
    own.length === other.length &&
    own.every((key, index) => key === other[index] && isSameValue(a[key as keyof typeof a], b[key as keyof typeof b]))
  )
}

const isSameValue = (a: unknown, b: unknown): boolean => (typeof a !== 'object' || a === null) && Object.is(a, b)

/**
 * Returns one shared object for all equal ones, so that a million tensors do not repeat it. Only for plain data that
 * nobody changes.
 */
export function sharer(): <T>(value: T) => T {
  const known = new Map<string, unknown>()
  // Neighbours are mostly alike, and comparing them is faster than writing them as text.
  const recent: unknown[] = []
  return <T>(value: T): T => {
    for (const one of recent) if (isSame(one, value)) return one as T
    const key = JSON.stringify(value, exact)
    const before = known.get(key)
    const shared = before ?? value
    if (before === undefined) known.set(key, value)
    recent.unshift(shared)
    if (recent.length > RECENT) recent.pop()
    return shared as T
  }
}
