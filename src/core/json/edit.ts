/**
 * Changes single values of a JSON text in place: every other byte stays as it was, such as `8.0`, `1e-05`, integers beyond 2⁵³,
 * escapes, the order of keys, indentation and line ends. Libraries for this (jsonc-parser) do not know `NaN` and `Infinity`, build
 * a tree of the whole text for each edit, and recurse as deep as the text is nested.
 */
import { afterSpace, afterString, hasMark, isObject, parseJson, sameJson } from './text.js'

export type JsonPath = readonly (string | number)[]

export interface JsonEdit {
  readonly path: JsonPath
  /** Undefined removes the key. */
  readonly value: unknown
}

/** A value that is written exactly so: a number with more digits than a double has, or `8.0`. */
export class RawJson {
  constructor(readonly text: string) {}
}

/**
 * A text with these edits. A key that is missing is added behind the others, with the objects on its way, in the style of the
 * text around it. Of a key that stands twice the last counts, as for every reader; removing takes all. The text must be one that
 * `parseJson` reads, and no two edits may lie inside each other.
 */
export function editJson(text: string, edits: readonly JsonEdit[]): string {
  const splices: Splice[] = []
  const root = afterSpace(text, hasMark(text) ? 1 : 0)
  change(text, root, treeOf(edits), splices)
  let done = 0
  const parts: string[] = []
  // Sorting is stable: what is added at a place stands before what is removed from there on.
  for (const { from, to, put } of splices.sort((a, b) => a.from - b.from || a.to - b.to)) {
    parts.push(text.slice(done, from), put)
    done = to
  }
  return [...parts, text.slice(done)].join('')
}

/**
 * The same, for a value that was read from the text by `parseJson` and what it has become: what differs is edited, and elements of a
 * list that has another length now keep their texts. Undefined where nothing differs.
 */
export function changeJson(text: string, before: unknown, after: unknown): string | undefined {
  const edits = differences(before, after, [])
  return edits.length === 0 ? undefined : editJson(text, edits)
}

interface Splice {
  readonly from: number
  readonly to: number
  readonly put: string
}

/** What is to become of a value: another, or changes inside of it. */
type Change = { readonly value: unknown } | ReadonlyMap<string | number, Change>
type Changes = Map<string | number, Change>

function treeOf(edits: readonly JsonEdit[]): Change {
  const root: Changes = new Map()
  for (const { path, value } of edits) {
    if (path.length === 0) return { value }
    let at = root
    for (const key of path.slice(0, -1)) {
      const inner = at.get(key)
      const next: Changes = inner instanceof Map ? inner : new Map()
      at.set(key, next)
      at = next
    }
    at.set(path.at(-1)!, { value })
  }
  return root
}

const isPlain = (value: unknown): value is Readonly<Record<string, unknown>> =>
  isObject(value) && !(value instanceof RawJson)

function differences(before: unknown, after: unknown, path: JsonPath): JsonEdit[] {
  if (before === after || sameJson(before, after)) return []
  if (Array.isArray(before) && Array.isArray(after)) {
    if (before.length !== after.length) return [{ path, value: after }]
    return after.flatMap((value, index) => differences(before[index], value, [...path, index]))
  }
  if (!isPlain(before) || !isPlain(after)) return [{ path, value: after }]
  const gone = Object.keys(before).filter((key) => !Object.hasOwn(after, key))
  return [
    ...gone.map((key) => ({ path: [...path, key], value: undefined })),
    ...Object.keys(after).flatMap((key): JsonEdit[] => {
      const value = after[key]
      if (!Object.hasOwn(before, key)) return value === undefined ? [] : [{ path: [...path, key], value }]
      return value === undefined ? [{ path: [...path, key], value }] : differences(before[key], value, [...path, key])
    }),
  ]
}

interface Member {
  readonly key: string | number
  /** Where it begins: its key, or in a list its value. */
  readonly from: number
  readonly value: number
  readonly to: number
}

/** The members of the list or object whose bracket stands at `at`, and the index of the closing one. */
function membersOf(text: string, at: number): { readonly members: readonly Member[]; readonly close: number } {
  const members: Member[] = []
  const list = text[at] === '['
  at = afterSpace(text, at + 1)
  while (text[at] !== (list ? ']' : '}')) {
    const from = at
    let key: string | number = members.length
    if (!list) {
      const end = afterString(text, at)
      const written = text.slice(at + 1, end - 1)
      key = written.includes('\\') ? (JSON.parse(text.slice(at, end)) as string) : written
      at = afterSpace(text, afterSpace(text, end) + 1)
    }
    const to = afterValue(text, at)
    members.push({ key, from, value: at, to })
    at = afterSpace(text, to)
    if (text[at] === ',') at = afterSpace(text, at + 1)
    else if (at >= text.length) throw new Error('internal: the JSON text ends early')
  }
  return { members, close: at }
}

/** The index after the value that begins at `at`. */
function afterValue(text: string, at: number): number {
  let open = 0
  for (; at < text.length; at++) {
    const char = text[at]!
    if (char === '"') at = afterString(text, at) - 1
    else if (char === '{' || char === '[') open++
    else if (char === '}' || char === ']') {
      // The bracket that closes what a bare word or number stands in.
      if (open === 0) return at
      open--
    } else if (open === 0) {
      const rest = /[^\s,\]}]*/y
      rest.lastIndex = at
      return at + rest.exec(text)![0].length
    }
    if (open === 0) return at + 1
  }
  return at
}

function change(text: string, at: number, what: Change, splices: Splice[]): void {
  if (!(what instanceof Map)) {
    const { value } = what as { value: unknown }
    splices.push({ from: at, to: afterValue(text, at), put: replaced(text, at, value) })
    return
  }
  if (text[at] !== '{' && text[at] !== '[') {
    splices.push({ from: at, to: afterValue(text, at), put: printed(made(what), styleAt(text, at)) })
    return
  }
  const { members, close } = membersOf(text, at)
  const last = new Map(members.map((member) => [member.key, member]))
  const gone = new Set<string | number>()
  const added: [string | number, unknown][] = []
  for (const [key, inner] of what) {
    const member = last.get(key)
    const value = inner instanceof Map ? undefined : (inner as { value: unknown }).value
    if (!(inner instanceof Map) && value === undefined) gone.add(key)
    else if (member) change(text, member.value, inner, splices)
    else added.push([key, inner instanceof Map ? made(inner) : value])
  }
  remove(members, gone, at, close, added.length > 0, splices)
  if (added.length > 0) add(text, at, close, members, gone, added, splices)
}

/** An object of changes where there was none. */
const made = (changes: ReadonlyMap<string | number, Change>): unknown =>
  Object.fromEntries(
    [...changes].map(([key, inner]) => [key, inner instanceof Map ? made(inner) : (inner as { value: unknown }).value]),
  )

function remove(
  members: readonly Member[],
  gone: ReadonlySet<string | number>,
  open: number,
  close: number,
  replacing: boolean,
  splices: Splice[],
): void {
  if (members.every(({ key }) => gone.has(key))) {
    // What is added brings its own white space.
    if (members.length > 0 && !replacing) splices.push({ from: open + 1, to: close, put: '' })
    return
  }
  for (let first = 0; first < members.length; first++) {
    if (!gone.has(members[first]!.key)) continue
    let next = first
    while (next < members.length && gone.has(members[next]!.key)) next++
    const from = next < members.length ? members[first]!.from : members[first - 1]!.to
    splices.push({ from, to: members[next]?.from ?? members.at(-1)!.to, put: '' })
    first = next
  }
}

function add(
  text: string,
  open: number,
  close: number,
  members: readonly Member[],
  gone: ReadonlySet<string | number>,
  added: readonly (readonly [string | number, unknown])[],
  splices: Splice[],
): void {
  const style = styleAt(text, open)
  const inner = { ...style, indent: style.indent + style.unit }
  const write = ([key, value]: readonly [string | number, unknown]): string =>
    `${text[open] === '[' ? '' : `${JSON.stringify(String(key))}${style.colon}`}${printed(value, inner)}`
  const kept = members.findLast(({ key }) => !gone.has(key))
  if (!kept) {
    const [lead, trail] = style.lines ? [`${style.eol}${inner.indent}`, `${style.eol}${style.indent}`] : ['', '']
    const comma = style.lines ? `,${lead}` : style.comma
    splices.push({ from: open + 1, to: close, put: `${lead}${added.map(write).join(comma)}${trail}` })
    return
  }
  const comma = separatorOf(text, open, members, style)
  splices.push({ from: kept.to, to: kept.to, put: added.map((one) => `${comma}${write(one)}`).join('') })
}

/** What stands between two members of a list or an object. */
function separatorOf(text: string, open: number, members: readonly Member[], style: Style): string {
  const [first, second] = members
  if (second) return text.slice(first!.to, second.from)
  const lead = first ? text.slice(open + 1, first.from) : ''
  return lead.includes('\n') ? `,${lead}` : style.comma
}

/** How a value is written at a place. */
interface Style {
  /** Members on lines of their own. */
  readonly lines: boolean
  readonly eol: string
  /** Of the line on which the value begins. */
  readonly indent: string
  readonly unit: string
  readonly colon: string
  readonly comma: string
}

/** The style of the text around the value at `at`: that of its own members where it has any, else that of the whole text. */
function styleAt(text: string, at: number): Style {
  const line = text.lastIndexOf('\n', at) + 1
  const indent = /^[ \t]*/.exec(text.slice(line, at))![0]
  const root = afterSpace(text, hasMark(text) ? 1 : 0)
  const [top, own] = [root, at].map((open) => leadOf(text, open))
  const lead = own ?? top
  // The root's first member stands one step in.
  const unit = top?.lines ? top.indent : '  '
  const colon = lead?.colon ?? top?.colon ?? ': '
  return {
    lines: own ? own.lines : (top?.lines ?? true),
    eol: /\r\n/.test(text.slice(0, 4096)) ? '\r\n' : '\n',
    indent,
    unit: own?.lines && own.indent.startsWith(indent) && own.indent !== indent ? own.indent.slice(indent.length) : unit,
    colon,
    comma: lead?.comma ?? (colon.endsWith(' ') ? ', ' : ','),
  }
}

/** How the first member of the list or object at `open` is set; nothing where it has none. */
function leadOf(text: string, open: number) {
  if (text[open] !== '{' && text[open] !== '[') return undefined
  const first = afterSpace(text, open + 1)
  if (text[first] === '}' || text[first] === ']' || first >= text.length) return undefined
  const space = text.slice(open + 1, first)
  const key = text[open] === '{' ? afterString(text, first) : undefined
  const value = key === undefined ? first : afterSpace(text, afterSpace(text, key) + 1)
  const end = afterValue(text, value)
  const next = afterSpace(text, end)
  const comma = text[next] === ',' ? text.slice(end, afterSpace(text, next + 1)) : undefined
  return {
    lines: space.includes('\n'),
    indent: space.slice(space.lastIndexOf('\n') + 1),
    colon: key === undefined ? undefined : text.slice(key, value),
    comma,
  }
}

/** The text of a value in place of the one at `at`: elements that were there keep their texts and what stands between them. */
function replaced(text: string, at: number, value: unknown): string {
  const style = styleAt(text, at)
  if (!Array.isArray(value) || text[at] !== '[' || value.length === 0) return printed(value, style)
  const { members, close } = membersOf(text, at)
  if (members.length === 0) return printed(value, style)
  const before = members.map((member) => text.slice(member.value, member.to))
  // Of the elements with one value, the texts in turn, and the last one again where they run out.
  const places = new Map<string, { readonly texts: string[]; used: number }>()
  for (const one of before) {
    const key = keyOf(parseJson(one))
    const place = places.get(key)
    if (place) place.texts.push(one)
    else places.set(key, { texts: [one], used: 0 })
  }
  const inner = { ...style, indent: style.indent + style.unit }
  const elements = value.map((element) => {
    const found = element instanceof RawJson ? undefined : places.get(keyOf(element))
    if (!found) return printed(element, inner)
    return found.texts[Math.min(found.used++, found.texts.length - 1)]!
  })
  const comma = separatorOf(text, at, members, style)
  return `[${text.slice(at + 1, members[0]!.from)}${elements.join(comma)}${text.slice(members.at(-1)!.to, close)}]`
}

/** Tells values apart as `sameJson` does. */
const keyOf = (value: unknown): string =>
  JSON.stringify(value, (_, part) =>
    typeof part === 'number' && (!Number.isFinite(part) || Object.is(part, -0)) ? `\u0001${numberText(part)}` : part,
  ) ?? 'undefined'

/** NaN, Infinity and -Infinity as Python writes them. */
const numberText = (value: number): string => (Object.is(value, -0) ? '-0.0' : String(value))

function printed(value: unknown, style: Style): string {
  if (value instanceof RawJson) return value.text
  if (typeof value === 'number') return numberText(value)
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const inner = { ...style, indent: style.indent + style.unit }
  const parts = Array.isArray(value)
    ? value.map((one) => printed(one ?? null, inner))
    : Object.entries(value)
        .filter(([, one]) => one !== undefined)
        .map(([key, one]) => `${JSON.stringify(key)}${style.colon}${printed(one, inner)}`)
  const [open, close] = Array.isArray(value) ? '[]' : '{}'
  if (parts.length === 0) return `${open}${close}`
  if (!style.lines) return `${open}${parts.join(style.comma)}${close}`
  const lead = `${style.eol}${inner.indent}`
  return `${open}${lead}${parts.join(`,${lead}`)}${style.eol}${style.indent}${close}`
}
