/** Changes values in the text of a recipe. Everything else stays as it was written: comments, quotes, order. */
import { readText } from './source.js'
import { nodeAt } from './tree.js'
import type { Path } from './types.js'

export interface Edit {
  readonly to: Path
  /** Plain JSON. */
  readonly value: unknown
}

interface Piece {
  readonly start: number
  readonly end: number
  readonly text: string
}

/**
 * The text with other values, and with `key` removed from its top. `instead`: written in its place, as one key with plain JSON. Undefined
 * if a path has no value in the text.
 */
export function editedText(
  written: string,
  edits: readonly Edit[],
  key: string,
  instead?: { readonly key: string; readonly value: unknown },
): string | undefined {
  const { root, origin } = readText('recipe', written)
  if (root?.kind !== 'map') return undefined
  const pieces: Piece[] = []
  for (const { to, value } of edits) {
    const node = nodeAt(root, to)
    if (!node || node.span.end <= node.span.start) return undefined
    pieces.push({ start: node.span.start, end: node.span.end, text: JSON.stringify(value) })
  }
  const entry = root.entries.get(key)
  if (entry) {
    const whole = { start: entry.key.start, end: Math.max(entry.key.end, entry.value.span.end) }
    const inFlow = origin.text[root.span.start] === '{'
    pieces.push(inFlow ? fromFlow(origin.text, whole, instead) : fromBlock(origin.text, whole, instead))
  }
  return pieces
    .sort((a, b) => b.start - a.start)
    .reduce((text, { start, end, text: piece }) => text.slice(0, start) + piece + text.slice(end), origin.text)
}

/** A key of a block with its lines, and with comments that are indented like its values. */
function fromBlock(
  text: string,
  { start, end }: { readonly start: number; readonly end: number },
  instead: { readonly key: string; readonly value: unknown } | undefined,
): Piece {
  const first = text.lastIndexOf('\n', start - 1) + 1
  const lines = /(?:[^\n]*(?:\n|$))(?:[ \t]+#[^\n]*(?:\n|$))*/y
  // The end of a block can be the start of the next line.
  const from = text[end - 1] === '\n' ? end - 1 : end
  lines.lastIndex = from
  const last = lines.exec(text) ? lines.lastIndex : text.length
  return { start: first, end: last, text: instead ? `${instead.key}: ${JSON.stringify(instead.value)}\n` : '' }
}

/** A key between braces, with one of the commas beside it. */
function fromFlow(
  text: string,
  { start, end }: { readonly start: number; readonly end: number },
  instead: { readonly key: string; readonly value: unknown } | undefined,
): Piece {
  if (instead) return { start, end, text: `${JSON.stringify(instead.key)}: ${JSON.stringify(instead.value)}` }
  const after = /\s*,\s*/y
  after.lastIndex = end
  if (after.test(text)) return { start, end: after.lastIndex, text: '' }
  const before = /,\s*$/.exec(text.slice(0, start))
  return { start: before ? before.index : start, end, text: '' }
}
