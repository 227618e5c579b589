/** What the page's script knows. Both sides use these types: `trialsTable.ts` writes it, and `browser/` reads it. */

export interface Column {
  readonly title: string
  /** Numbers stand on the right, and the larger ones come first when they are sorted downwards. */
  readonly number: boolean
}

export type CellData = number | string | null

export interface TrialsData {
  /** The first is the trial's number, the second what became of it, the third the result. */
  readonly columns: readonly Column[]
  readonly rows: readonly RowData[]
}

export interface RowData {
  /** The trial's index. */
  readonly index: number
  readonly failed: boolean
  /** The share of the trials that are better, from 0. Failed trials: 1. */
  readonly rank: number
  readonly cells: readonly CellData[]
}
