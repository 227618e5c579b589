/** Heat maps: one row per module, one column per layer. */
import { plural } from '../../../../core/words.js'
import { escapeHtml, filterAddress } from '../html.js'
import { short } from '../numbers.js'
import type { Grid, Module } from './grid.js'
import { at, clipped, clippedStart, drawing, type Size, sized, text } from './svg.js'

export interface Cell {
  /** The class of its colour. */
  readonly colour: string
  /** From 0 to 1. */
  readonly strength: number
  /** Written in the cell where there is room. */
  readonly value: string
  /** For the tooltip. */
  readonly title: string
}

/** The cell of some tensors; undefined leaves it empty. */
export type CellOf = (tensors: readonly string[]) => Cell | undefined

/** Rows of a heat map. */
const MOST_MODULES = 48
const ROW = 19

/** `longest`: characters of the longest label of all maps, so that their columns are in line. */
export function heatMap(grid: Grid, label: string, cellOf: CellOf, longest: number, size: Size): string {
  const modules = grid.modules.filter(({ cells }) => [...cells.values()].some((tensors) => cellOf(tensors)))
  if (modules.length === 0) return ''
  const more = modules.length - MOST_MODULES
  const rest = more > 0 ? `<p class="soft">The table of tensors has ${plural(more, 'more module')}.</p>` : ''
  const shown = modules.slice(0, MOST_MODULES)
  return sized(size, (width) => draw(grid, shown, label, cellOf, { width, longest })) + rest
}

interface Space {
  readonly width: number
  readonly longest: number
}

function draw(
  grid: Grid,
  modules: readonly Module[],
  label: string,
  cellOf: CellOf,
  { width, longest }: Space,
): string {
  const wide = width > 400
  const left = Math.min(wide ? 250 : 168, longest * 6.3 + 14)
  const single = grid.prefix === undefined
  const pitch = single ? (wide ? 72 : 56) : Math.min(wide ? 72 : 56, (width - left) / grid.depth)
  const head = single ? 2 : 20
  const rows = modules.map((module, row) => {
    const y = head + row * ROW
    const name = `<a href="${filterAddress({ search: module.search })}">${text(0, y + 13, clippedStart(module.label, Math.floor((left - 8) / 6.3)), 'mono')}</a>`
    return name + cellsOf(module, grid.depth, cellOf, { left, y, pitch })
  })
  const every = [1, 2, 4, 5, 10, 20, 50, 100, 200, 500].find((step) => step * pitch >= 22) ?? 1000
  const layers = single ? [] : Array.from({ length: Math.ceil(grid.depth / every) }, (_, index) => index * every)
  const numbers = layers.map((layer) => text(left + (layer + 0.5) * pitch, 13, String(layer), 'middle'))
  return drawing(width, head + modules.length * ROW + 2, label, numbers.join('') + rows.join(''), true)
}

interface Row {
  readonly left: number
  readonly y: number
  readonly pitch: number
}

/** Below this width, nobody can point at a cell: it has no tooltip, and one of few strengths. */
const POINTABLE = 6
const STRENGTHS = 24

/** The cells of a row. Neighbours that are the same become one, unless there is room for their values. */
function cellsOf({ cells }: Module, depth: number, cellOf: CellOf, { left, y, pitch }: Row): string {
  const roomy = pitch >= 34
  const fine = pitch < POINTABLE
  const strengthOf = ({ strength }: Cell): number => (fine ? Math.round(strength * STRENGTHS) / STRENGTHS : strength)
  const looksAlike = (a: Cell, b: Cell): boolean =>
    a.colour === b.colour && (fine ? strengthOf(a) === strengthOf(b) : a.title === b.title)
  const parts: string[] = []
  let open: { cell: Cell; from: number } | undefined
  const close = (to: number): void => {
    if (!open) return
    const { cell, from } = open
    const strength = strengthOf(cell)
    const x = left + from * pitch
    const width = (to - from) * pitch - (pitch > 4 ? 1 : 0)
    const where = to - from > 1 ? `layers ${from} to ${to - 1}: ` : depth > 1 ? `layer ${from}: ` : ''
    const written =
      roomy && cell.value !== ''
        ? text(
            x + width / 2,
            y + 12.5,
            clipped(cell.value, Math.floor(width / 6)),
            cell.strength > 0.55 ? 'middle value on' : 'middle value',
          )
        : ''
    const opacity = strength < 1 ? ` fill-opacity="${short(Number((0.08 + 0.92 * strength).toFixed(3)))}"` : ''
    const title = fine ? '' : `<title>${escapeHtml(`${where}${cell.title}`)}</title>`
    parts.push(
      `<rect class="fill ${cell.colour}" x="${at(x)}" y="${y}" width="${at(width)}" height="${ROW - 2}"${opacity}>${title}</rect>${written}`,
    )
    open = undefined
  }
  for (let layer = 0; layer < depth; layer++) {
    const tensors = cells.get(layer)
    const cell = tensors && cellOf(tensors)
    const same = open && cell && !roomy && looksAlike(open.cell, cell)
    if (same) continue
    close(layer)
    if (cell) open = { cell, from: layer }
  }
  close(depth)
  return parts.join('')
}
