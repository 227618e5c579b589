import { safeJson } from '../printable.js'

/**
 * JSON for people and programs: maps as objects, typed arrays as lists, NaN and infinities as strings.
 */
export const toJson = (value: unknown, indent = 2): string =>
  safeJson(
    JSON.stringify(
      value,
      (_key, item: unknown) => {
        if (item instanceof Map) return Object.fromEntries(item)
        if (ArrayBuffer.isView(item)) return Array.from(item as unknown as ArrayLike<number>)
        if (typeof item === 'number' && !Number.isFinite(item)) return String(item)
        return item
      },
      indent,
    ),
  )
