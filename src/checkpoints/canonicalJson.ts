/** JSON text for headers and indexes, written as the reference implementation of safetensors writes it. */
import { fault } from '../core/diagnostics.js'
import { quote } from '../core/suggest.js'

/** A string as JSON. Error: `bad-name` for half of a surrogate pair, which UTF-8 cannot encode. */
export function jsonText(value: string): string {
  if (/\p{Surrogate}/u.test(value))
    throw fault('bad-name', `${quote(value)} can't be written as UTF-8`, 'rename the tensor')
  return JSON.stringify(value)
}

/** Compares by code points. This is also the order of the UTF-8 bytes, which the reference implementation uses. */
export function compareNames(a: string, b: string): number {
  const shared = Math.min(a.length, b.length)
  for (let at = 0; at < shared; at++) {
    const x = a.charCodeAt(at)
    const y = b.charCodeAt(at)
    if (x === y) continue
    // Surrogates encode the highest code points, but some other code units are larger than they are.
    const high = (unit: number) => (unit >= 0xd800 && unit < 0xe000 ? unit + 0x10000 : unit)
    return high(x) - high(y)
  }
  return a.length - b.length
}
