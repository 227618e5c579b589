/** Minimum number of characters per piece. */
const PIECE = 1 << 16
/** Values at this depth are written at once. */
const WHOLE = 4

/**
 * Writes the text of `JSON.stringify` for plain data in pieces: the text of a plan with a million tensors would exceed
 * the maximum string length. Above the depth `WHOLE`, an iterable is written as a list.
 */
export function jsonPieces(value: unknown, put: (piece: string) => void): void {
  let held = ''
  const add = (text: string): void => {
    held += text
    if (held.length < PIECE) return
    put(held)
    held = ''
  }
  const write = (value: unknown, depth: number): void => {
    if (depth === WHOLE || typeof value !== 'object' || value === null) add(JSON.stringify(value) ?? 'null')
    else if (Symbol.iterator in value && !ArrayBuffer.isView(value)) {
      add('[')
      let first = true
      for (const item of value as Iterable<unknown>) {
        if (!first) add(',')
        write(item, depth + 1)
        first = false
      }
      add(']')
    } else {
      add('{')
      let first = true
      for (const [key, item] of Object.entries(value)) {
        if (item === undefined) continue
        add(`${first ? '' : ','}${JSON.stringify(key)}:`)
        write(item, depth + 1)
        first = false
      }
      add('}')
    }
  }
  write(value, 0)
  put(held)
}
