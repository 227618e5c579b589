/** Text for people: names made safe for terminals, sizes, counts, durations, tables, and a little style. */

export { toJson } from '../core/json/print.js'
export { printable, printableText, safeJson } from '../core/printable.js'

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

/** A longer cell does not widen its column: one very long name must not pad every row. */
const WIDEST = 100

/** A table with columns two spaces apart and without trailing spaces. Cells must be printable already. */
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
