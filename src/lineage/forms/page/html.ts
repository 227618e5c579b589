/** Texts and small pieces of the page. Everything from a lineage passes through `escapeHtml`. */
import { safeJson } from '../../../core/printable.js'
import type { LineageTensor } from '../../types.js'
import { grouped, short, visible } from './numbers.js'

/** Whether a tensor is one of a model or step, unchanged. One that a step computed can have a reason too. */
export const isCopied = ({ method }: Pick<LineageTensor, 'method'>): boolean => method === 'copy'

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

/** Escapes text for HTML content and quoted attributes. */
export const escapeHtml = (text: string): string => visible(text).replace(/[&<>"']/g, (letter) => ENTITIES[letter]!)

/** JSON that is safe inside a `script` element, and on a terminal. */
export const scriptJson = (value: unknown): string => safeJson(JSON.stringify(value)).replaceAll('<', '\\u003c')

/** Lines of JSON, each safe in the same way. */
export const scriptLines = (lines: readonly string[]): string => safeJson(lines.join('\n')).replaceAll('<', '\\u003c')

export const code = (text: string): string => `<code>${escapeHtml(text)}</code>`

export const digestText = (digest: string | null): string =>
  digest === null ? '<span class="soft">none</span>' : code(digest)

/** A number with four digits; the exact one as a tooltip where they differ. */
export function numberText(value: number): string {
  const text = Number.isInteger(value) ? grouped(value) : short(value)
  return String(value) === text || Number.isInteger(value) ? text : `<span title="${value}">${text}</span>`
}

/** Text, or trusted markup. Numbers stand on the right. */
export type Cell = string | { readonly number: string }

/** A table that turns into cards on narrow screens: each cell knows its heading. Cells are markup. */
export function table(heads: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const cell = (content: Cell, column: number): string => {
    const label = heads[column] === '' ? '' : ` data-label="${heads[column]}"`
    return typeof content === 'string'
      ? `<td${label}><div>${content}</div></td>`
      : `<td${label} class="number"><div>${content.number}</div></td>`
  }
  const numbers = heads.map((_, column) => rows.length > 0 && typeof rows[0]![column] === 'object')
  const head = heads.map((text, column) => `<th scope="col"${numbers[column] ? ' class="number"' : ''}>${text}</th>`)
  const body = rows.map((row) => `<tr>${row.map(cell).join('')}</tr>`)
  return `<table class="cards-when-narrow"><thead><tr>${head.join('')}</tr></thead><tbody>${body.join('')}</tbody></table>`
}

/** A number with what it is of: a link if it has an address. `exact`: as a tooltip where it differs. */
export function card(value: string, label: string, address?: string, exact?: string): string {
  const inside = `<b${exact === undefined || exact === value ? '' : ` title="${escapeHtml(exact)}"`}>${value}</b><span>${label}</span>`
  return address === undefined ? `<div class="card">${inside}</div>` : `<a class="card" href="${address}">${inside}</a>`
}

/** A bar from 0 to 1 for a share or a similarity. */
export const meter = (share: number, className: string): string =>
  `<svg class="meter" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true"><rect class="track" width="100" height="6"/><rect class="${className}" width="${(100 * Math.min(1, Math.max(0, share))).toFixed(1)}" height="6"/></svg>`

/** A link to the table of tensors, with a filter. The script reads it from the address. */
export function filterLink(filter: Readonly<Record<string, string>>, text: string): string {
  return `<a href="${filterAddress(filter)}">${text}</a>`
}

export const filterAddress = (filter: Readonly<Record<string, string>>): string =>
  escapeHtml(`#tensors?${new URLSearchParams(filter)}`)

/** A link to another site. Nothing is loaded before somebody follows it. */
export const siteLink = (address: string, text: string): string =>
  `<a href="${escapeHtml(address)}" rel="noopener noreferrer">${text}</a>`

/** Counts by key, the largest first. */
export function tally<T>(
  items: readonly T[],
  key: (item: T) => string,
  count: (item: T) => number = () => 1,
): [string, number][] {
  const counts = new Map<string, number>()
  for (const item of items) counts.set(key(item), (counts.get(key(item)) ?? 0) + count(item))
  return [...counts].sort(([, a], [, b]) => b - a)
}
