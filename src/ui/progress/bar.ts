/** Lines of progress that fit a terminal. */
import { type Progress, progressParts } from './meter.js'

export interface Look {
  /** Columns that a line may have. */
  readonly width: number
  readonly inColour: boolean
  /** Whether the terminal shows more than ASCII. */
  readonly unicode: boolean
}

/** How a bar is drawn. */
export interface BarLook extends Pick<Look, 'inColour' | 'unicode'> {
  /** What is not filled. */
  readonly empty?: string
}

/** Whether a terminal shows more than ASCII. */
export const showsUnicode = (env: NodeJS.ProcessEnv): boolean => process.platform === 'win32' || env.TERM !== 'linux'

const [NARROWEST_BAR, WIDEST_BAR] = [6, 30]
/** A line of this width has room for all parts beside the bar. */
const WIDE = 70
/** Columns for `, 100 %, 999 of 999 MB, 999 MB/s, 12 min 20 s left`, and for `100 %, 12 min 20 s left`. */
const [ALL_PARTS, FEW_PARTS] = [49, 17]
const [CYAN, DIM, END] = ['\u001b[36m', '\u001b[2m', '\u001b[0m']

/** `━━━━━━────`. */
export function bar(fraction: number, width: number, { inColour, unicode, empty }: BarLook): string {
  const filled = Math.min(width, Math.max(0, Math.floor(fraction * width)))
  const [full, rail] = unicode ? ['━', '─'] : ['#', '-']
  const [done, rest] = [full.repeat(filled), (empty ?? rail).repeat(width - filled)]
  return inColour ? `${CYAN}${done}${END}${DIM}${rest}${END}` : `${done}${rest}`
}

/** The title, a bar, and the parts of the progress: in one line, or in two where it does not fit. */
export function barLines(title: string, progress: Progress, look: Look): string[] {
  const { width } = look
  const { percent, bytes, rate, left } = progressParts(progress)
  const wide = width >= WIDE
  const room = width - title.length - 2 - (wide ? ALL_PARTS : FEW_PARTS)
  const joined = (parts: readonly (string | undefined)[]) => parts.filter((part) => part !== undefined).join(', ')
  const beside = joined(wide ? [percent, bytes, rate, left] : [percent, left])
  const below = wide ? '' : joined([bytes, rate])
  const line = `${title} ${bar(progress.fraction, Math.min(WIDEST_BAR, Math.max(NARROWEST_BAR, room)), look)} ${beside}`
  const plain = title.length + 2 + Math.min(WIDEST_BAR, Math.max(NARROWEST_BAR, room)) + beside.length
  return [
    plain > width ? shortened(`${title} ${beside}`, width) : line,
    ...(below === '' ? [] : [shortened(below, width)]),
  ]
}

/** Columns of a character, at most: a wrong guess must not make a line longer than the terminal. */
const columnsOf = (character: string): number => (character.codePointAt(0)! >= 0x1100 ? 2 : 1)

/** The text, or its beginning with `…`. */
export const shortened = (text: string, width: number): string => fitting([...text], width).join('')

/** The text, or its end after `…`: the end of a tensor's name says most. */
export const ending = (text: string, width: number): string =>
  fitting([...text].reverse(), width)
    .reverse()
    .join('')

function fitting(characters: string[], width: number): string[] {
  let columns = 0
  let kept = 0
  for (const character of characters) {
    columns += columnsOf(character)
    if (columns > width) return [...characters.slice(0, kept), '…']
    if (columns < width) kept++
  }
  return characters
}
