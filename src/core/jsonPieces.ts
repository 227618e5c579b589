/** Characters that are handed on together. */
const PIECE = 1 << 16
/** Values below this depth are written whole. */
const WHOLE = 4

/**
 * The text that `JSON.stringify` gives of plain data, in pieces: as one string, that of a plan with a million tensors would be longer
 * than a string can be.
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
    else if (Array.isArray(value)) {
      add('[')
      for (const [index, item] of value.entries()) {
        if (index > 0) add(',')
        write(item, depth + 1)
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
