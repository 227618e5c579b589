/** Texts of JSON as the reference implementation of safetensors writes them: headers and indexes. */
import { fault } from '../core/diagnostics.js'
import { quote } from '../core/suggest.js'

/** A string. Half a surrogate pair has no UTF-8, so it can't be written. */
export function jsonText(value: string): string {
  if (/\p{Surrogate}/u.test(value)) throw fault('bad-name', `${quote(value)} can't be written as UTF-8`)
  return JSON.stringify(value)
}

/** In the order of code points, which is that of UTF-8 bytes and so the reference implementation's. */
export function compareNames(a: string, b: string): number {
  const shared = Math.min(a.length, b.length)
  for (let at = 0; at < shared; at++) {
    const x = a.charCodeAt(at)
    const y = b.charCodeAt(at)
    if (x === y) continue
    // Surrogates stand for the highest code points, though other units are above them.
    const high = (unit: number) => (unit >= 0xd800 && unit < 0xe000 ? unit + 0x10000 : unit)
    return high(x) - high(y)
  }
  return a.length - b.length
}
