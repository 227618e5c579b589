/** Pieces of SVG drawings. Text is never scaled down: each drawing exists for wide and for narrow screens. */
import { escapeHtml } from '../html.js'
import { visible } from '../numbers.js'

/** Widths in pixels. The narrow one fits a screen of 400 pixels, beside the margins. */
const WIDE = 720
export const NARROW = 336

/** A coordinate with one decimal. */
export const at = (value: number): string => String(Math.round(value * 10) / 10)

/** Text that fits in so many characters. */
export function clipped(text: string, most: number): string {
  const shown = visible(text)
  return shown.length > most ? `${shown.slice(0, Math.max(1, most - 1)).replace(/[\ud800-\udbff]$/, '')}…` : shown
}

/** The same for names whose ends differ: the start is left out. */
export function clippedStart(text: string, most: number): string {
  const shown = visible(text)
  return shown.length > most ? `…${shown.slice(1 - most).replace(/^[\udc00-\udfff]/, '')}` : shown
}

/** Text in lines of at most `most` characters, broken at spaces; the last one ends in `…` if there is more. */
export function wrapped(text: string, most: number, lines: number): string[] {
  const found: string[] = []
  let line = ''
  for (const word of visible(text).split(' ')) {
    const longer = line === '' ? word : `${line} ${word}`
    if (longer.length <= most || line === '') line = longer
    else {
      found.push(line)
      line = word
    }
  }
  found.push(line)
  const shown = found.slice(0, lines).map((one) => clipped(one, most))
  if (found.length > lines) shown[lines - 1] = clipped(`${shown[lines - 1]} …`, most)
  return shown
}

export function text(x: number, y: number, content: string, className = ''): string {
  const chosen = className === '' ? '' : ` class="${className}"`
  return `<text x="${at(x)}" y="${at(y)}"${chosen}>${escapeHtml(content)}</text>`
}

/** A whole drawing. `label` describes it for people who cannot see it; links inside need the role of a group. */
export function drawing(width: number, height: number, label: string, content: string, links = false): string {
  const role = links ? 'group' : 'img'
  return `<svg viewBox="0 0 ${at(width)} ${at(height)}" width="${at(width)}" role="${role}" aria-label="${escapeHtml(label)}">${content}</svg>`
}

/** A small drawing can stand next to others, and is the same on every screen. A large one has two forms; CSS shows the one that fits. */
export type Size = 'small' | 'large'

export const sized = (size: Size, draw: (width: number) => string): string =>
  size === 'small'
    ? `<div class="small-drawing">${draw(NARROW)}</div>`
    : `<div class="wide">${draw(WIDE)}</div><div class="narrow">${draw(NARROW)}</div>`

/** Figures next to each other where there is room. */
export const beside = (figures: readonly string[]): string =>
  figures.length === 0 ? '' : `<div class="beside">${figures.join('')}</div>`

/** Round steps between two numbers, at most about `count`, for the ticks of an axis. */
export function ticks(low: number, high: number, count: number): number[] {
  const span = high - low
  if (!(span > 0) || !Number.isFinite(span)) return [low]
  const rough = span / count
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough)!
  const first = Math.ceil(low / step - 1e-9)
  const found: number[] = []
  for (let index = first; index * step <= high + step * 1e-9; index++)
    found.push(Number((index * step).toPrecision(12)))
  return found
}
