/** Text for people: names made safe for terminals, sizes, counts, durations, tables, and a little style. */

/**
 * C0 and C1 controls, DEL, line and paragraph separators, and the marks that turn the direction of writing: names in
 * checkpoints are a stranger's text, and must neither move the cursor nor forge what stands beside them.
 */
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\p{Cs}]/gu
const UNSAFE_IN_TEXT =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\p{Cs}]/gu

/** A name from a file, on one line, each control character as U+FFFD; half of a surrogate pair too. */
export const printable = (name: string): string => name.replace(UNSAFE, '\ufffd')

/** The same for a text of several lines: line breaks and tabs stay. */
export const printableText = (text: string): string => text.replace(UNSAFE_IN_TEXT, '\ufffd')

/** `1234567` as `1,234,567`, whatever the locale. */
export const formatCount = (count: number): string => String(count).replace(/\B(?=(\d{3})+$)/g, ',')

/** `1 tensor`, `2 tensors`. */
export const counted = (count: number, noun: string): string => `${formatCount(count)} ${noun}${count === 1 ? '' : 's'}`

/** Seconds as `0.4 s`, `75 s`, `3 min 20 s`, `2 h 5 min`. */
export function formatSeconds(seconds: number): string {
  if (seconds < 10) return `${seconds.toFixed(1)} s`
  const whole = Math.round(seconds)
  if (whole < 100) return `${whole} s`
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`
  const minutes = Math.round(whole / 60)
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}

export const formatShape = (shape: readonly number[]): string => `[${shape.join(', ')}]`

export interface Column {
  readonly title: string
  readonly align?: 'left' | 'right'
}

/** A longer cell stands out instead of widening every row: one hostile name must not multiply by all others. */
const WIDEST = 100

/** Rows under titles, two spaces apart; no line ends in spaces. Cells must be printable already. */
export function table(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const titles = columns.map((column) => column.title)
  const widths = titles.map((title, i) =>
    rows.reduce((width, row) => Math.max(width, Math.min(WIDEST, (row[i] ?? '').length)), title.length),
  )
  const line = (row: readonly string[]): string =>
    columns
      .map((column, i) => {
        const cell = row[i] ?? ''
        return column.align === 'right' ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0)
      })
      .join('  ')
      .trimEnd()
  return [titles, ...rows].map(line).join('\n')
}

export interface Branch {
  readonly text: string
  readonly branches?: readonly Branch[]
}

/** A tree drawn with lines, its root flush left. */
export function drawTree(root: Branch): string {
  const lines = [root.text]
  const draw = (branches: readonly Branch[], lead: string): void => {
    for (const [i, branch] of branches.entries()) {
      const last = i === branches.length - 1
      lines.push(`${lead}${last ? '└─' : '├─'} ${branch.text}`)
      draw(branch.branches ?? [], `${lead}${last ? '  ' : '│ '} `)
    }
  }
  draw(root.branches ?? [], '')
  return lines.join('\n')
}

const escapeUnit = (unit: string): string => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`

/** A text of JSON; what could steer a terminal can stand only in its strings, and becomes an escape of the same meaning. */
export const safeJson = (text: string): string => text.replace(UNSAFE_IN_TEXT, escapeUnit)

/**
 * JSON for people and programs alike: maps as objects, typed arrays as lists, numbers that JSON has no word for as text.
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
