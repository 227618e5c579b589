/** Reads the data of a report page. */
import type { MergeData, PageData } from '../../src/lineage/forms/page/pageData.js'

/** The text between two texts. */
export const part = (page: string, open: string, close: string): string => {
  const from = page.indexOf(open) + open.length
  return page.slice(from, page.indexOf(close, from))
}

export const dataOf = (page: string): PageData =>
  JSON.parse(part(page, '<script type="application/json" id="data">', '</script>'))

/** The names of all rows, which share their beginnings. */
export function namesOf(page: string): string[] {
  const { shared, names } = dataOf(page).rows
  const found: string[] = []
  for (const [index, rest] of names.entries()) found.push((found.at(-1) ?? '').slice(0, shared[index]) + rest)
  return found
}

/** The ways to make tensors, by number. */
export const mergesOf = (page: string): MergeData[] =>
  part(page, '<script type="text/plain" id="merges">', '</script>')
    .split('\n')
    .map((line) => JSON.parse(line))
