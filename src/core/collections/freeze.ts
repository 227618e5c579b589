/** Freezes plain data. Large plans have millions of values: nothing is called for those that are no objects. */
export function deepFreeze<T>(value: T): T {
  if (Object.isFrozen(value)) return value
  Object.freeze(value)
  for (const key in value) {
    const inner = value[key]
    if (typeof inner === 'object' && inner !== null) deepFreeze(inner)
  }
  return value
}
