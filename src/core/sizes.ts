/** Sizes in text form. As on the hub, 1 GB is 10⁹ bytes and 1 GiB is 2³⁰. */
import { ownValue } from './collections/ownValue.js'

const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  k: 1e3,
  kb: 1e3,
  m: 1e6,
  mb: 1e6,
  g: 1e9,
  gb: 1e9,
  t: 1e12,
  tb: 1e12,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
  tib: 2 ** 40,
}

const anyCase = (unit: string): string => unit.replace(/[a-z]/g, (letter) => `[${letter}${letter.toUpperCase()}]`)
/** A regular expression for sizes as `parseSize` reads them, for schemas, which have no flag to ignore case. */
export const SIZE_PATTERN = `^\\s*\\d{1,16}(?:\\.\\d{1,9})? ?(?:${Object.keys(UNITS).map(anyCase).join('|')})\\s*$`

/**
 * Parses "5GB", "512 MiB", "1.5g" or "4096" to bytes, ignoring case. Undefined if it is not a size or not a safe
 * integer.
 */
export function parseSize(text: string): number | undefined {
  const [, digits, unit] = /^(\d{1,16}(?:\.\d{1,9})?) ?([a-z]{0,3})$/i.exec(text.trim()) ?? []
  if (digits === undefined || unit === undefined) return undefined
  const factor = ownValue(UNITS, unit.toLowerCase())
  if (factor === undefined) return undefined
  const bytes = Math.floor(Number(digits) * factor)
  return Number.isSafeInteger(bytes) ? bytes : undefined
}

/** A size as flags accept it, rounded up: "82MB", "1.51GB". */
export const sizeFlag = (bytes: number): string =>
  bytes < 1e6
    ? `${Math.ceil(bytes / 1e3)}kB`
    : bytes < 1e9
      ? `${Math.ceil(bytes / 1e6)}MB`
      : `${Math.ceil(bytes / 1e7) / 100}GB`

const NAMES = ['B', 'kB', 'MB', 'GB', 'TB', 'PB']

/** Three significant digits in decimal units: "512 B", "1.50 GB", "81.9 MB". */
export function formatSize(bytes: number): string {
  let value = bytes
  let unit = 0
  // 999.5 and more would round to 1000 of the smaller unit.
  while (value >= (unit === 0 ? 1000 : 999.5) && unit < NAMES.length - 1) {
    value /= 1000
    unit++
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2
  return `${value.toFixed(digits)} ${NAMES[unit]}`
}
