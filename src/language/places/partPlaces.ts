/**
 * Where a part of a string is written: in plain and quoted scalars, over several lines too, and in block scalars. The text is
 * read again by the rules of YAML, with the place of each character. If that does not give the string exactly, no place is
 * certain, and the whole scalar is the place.
 */
import type { Span } from '../tree.js'
import type { Within } from '../types.js'

/** Characters with their places: the start and the end of what each was written as. */
interface Placed {
  text: string
  readonly starts: number[]
  readonly ends: number[]
}

/** The span of a part of a string. */
export function partSpan(span: Span, value: string, { offset, length }: Within): Span {
  // The last line breaks of a block depend on its header, and no error is there.
  const wanted = value.replace(/\n+$/, '')
  const placed = readings(span.origin.text.slice(span.start, span.end)).find(
    ({ text }) => wanted !== '' && text.replace(/\n+$/, '') === wanted,
  )
  if (!placed) return span
  const { starts, ends } = placed
  const count = starts.length
  const start = offset < count ? starts[offset]! : ends[count - 1]!
  const last = Math.min(offset + Math.max(1, length), count) - 1
  const end = last >= offset ? ends[last]! : start + 1
  return { ...span, start: span.start + start, end: span.start + Math.max(end, start + 1) }
}

/** An indent in the header of a block is relative to what is around it, which is not known here. */
const MOST_INDENT = 9

/** What a scalar may be. Only one reading gives its string. */
function readings(written: string): Placed[] {
  const first = written[0]
  if (first !== '|' && first !== '>') return [readFlow(written, first === '"' || first === "'" ? first : undefined)]
  const explicit = /^[|>][-+]?[1-9]/.test(written)
  return Array.from({ length: explicit ? MOST_INDENT + 1 : 1 }, (_, less) => readBlock(written, first === '>', less))
}

function add(to: Placed, text: string, start: number, end: number): void {
  to.text += text
  for (let i = 0; i < text.length; i++) {
    to.starts.push(start)
    to.ends.push(end)
  }
}

const ESCAPES: ReadonlyMap<string, string> = new Map(
  Object.entries({
    '0': '\0',
    a: '\x07',
    b: '\b',
    t: '\t',
    '\t': '\t',
    n: '\n',
    v: '\v',
    f: '\f',
    r: '\r',
    e: '\x1b',
  }).concat(
    Object.entries({ ' ': ' ', '"': '"', '/': '/', '\\': '\\', N: '\x85', _: '\xa0', L: '\u2028', P: '\u2029' }),
  ),
)
const DIGITS: ReadonlyMap<string, number> = new Map([
  ['x', 2],
  ['u', 4],
  ['U', 8],
])

/** A plain or a quoted scalar. Line breaks in it are folded. */
function readFlow(written: string, quote: '"' | "'" | undefined): Placed {
  const placed: Placed = { text: '', starts: [], ends: [] }
  const end = written.length - (quote ? 1 : 0)
  /** Spaces before a line break go, but not those of an escape. */
  let kept = 0
  for (let at = quote ? 1 : 0; at < end; ) {
    const character = written[at]!
    if (character === '\n' || character === '\r') {
      at = fold(placed, written, at, kept)
      kept = placed.text.length
    } else if (quote === '"' && character === '\\') {
      at = escaped(placed, written, at)
      kept = placed.text.length
    } else {
      const size = quote === "'" && character === "'" ? 2 : 1
      add(placed, character, at, at + size)
      at += size
    }
  }
  return placed
}

/** One line break is a space, more are one fewer. Returns the offset of what follows. */
function fold(placed: Placed, written: string, at: number, kept: number): number {
  let length = placed.text.length
  while (length > kept && /[ \t]/.test(placed.text[length - 1]!)) length--
  placed.text = placed.text.slice(0, length)
  placed.starts.length = placed.ends.length = length
  const [space] = /^(?:[ \t]*\r?\n)+[ \t]*/.exec(written.slice(at))!
  const breaks = space.split('\n').length - 1
  add(placed, breaks === 1 ? ' ' : '\n'.repeat(breaks - 1), at, at + 1)
  return at + space.length
}

/** Returns the offset of what follows. */
function escaped(placed: Placed, written: string, at: number): number {
  const letter = written[at + 1] ?? ''
  const broken = /^\\\r?\n[ \t]*/.exec(written.slice(at, at + 4096))
  if (broken) return at + broken[0].length
  const digits = DIGITS.get(letter)
  const end = at + 2 + (digits ?? 0)
  const code = digits ? Number.parseInt(written.slice(at + 2, end), 16) : Number.NaN
  const text = digits ? (code <= 0x10ffff ? String.fromCodePoint(code) : '') : (ESCAPES.get(letter) ?? '')
  add(placed, text, at, end)
  return end
}

/** A literal or folded block, which begins with its header. Its text is indented by `less` less than its leftmost line. */
function readBlock(written: string, folded: boolean, less: number): Placed {
  const placed: Placed = { text: '', starts: [], ends: [] }
  const header = /^[|>][-+1-9]*[ \t]*(?:#[^\n]*)?\r?\n/.exec(written)
  if (!header) return placed
  const lines: { text: string; at: number }[] = []
  for (let at = header[0].length; at < written.length; ) {
    const next = written.indexOf('\n', at)
    const end = next < 0 ? written.length : next
    lines.push({ text: written.slice(at, end).replace(/\r$/, ''), at })
    at = end + 1
  }
  const own = lines.filter(({ text }) => text.trim() !== '').map(({ text }) => /^ */.exec(text)![0].length)
  const indent = Math.max(0, own.reduce((least, one) => Math.min(least, one), Number.POSITIVE_INFINITY) - less)
  let breaks = 0
  let before: string | undefined
  for (const { text, at } of lines) {
    const content = text.slice(indent)
    if (content !== '') {
      const apart = !folded || before === undefined || isMoreIndented(before) || isMoreIndented(content)
      const joined = apart ? '\n'.repeat(breaks) : breaks === 1 ? ' ' : '\n'.repeat(breaks - 1)
      add(placed, joined, at - 1, at)
      for (let i = 0; i < content.length; i++) add(placed, content[i]!, at + indent + i, at + indent + i + 1)
      before = content
      breaks = 0
    }
    breaks++
  }
  return placed
}

const isMoreIndented = (line: string): boolean => line.startsWith(' ') || line.startsWith('\t')
