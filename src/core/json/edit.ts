/**
 * Changes single values of a JSON text in place and keeps every other byte: numbers such as `8.0`, `1e-05` and integers
 * beyond 2⁵³, escapes, key order, indentation and line ends. Libraries such as jsonc-parser do not support `NaN` and
 * `Infinity`, build a tree of the whole text for each edit, and recurse with the nesting depth.
 */
import { afterSpace, afterString, hasMark, isObject, parseJson, sameJson } from './text.js'

export type JsonPath = readonly (string | number)[]

export interface JsonEdit {
  readonly path: JsonPath
  /** Undefined removes the key. */
  readonly value: unknown
}

/** A value with its exact text, such as `8.0` or a number with more digits than a double has. */
export class RawJson {
  constructor(readonly text: string) {}
}

/**
 * Applies edits to a text. A missing key is added at the end, with the objects on its path, in the style of the
 * surrounding text. If a key appears twice, the last one counts, as for every reader, and removing it removes both.
 * `parseJson` must accept the text, and no edit may lie inside another.
 */
export function editJson(text: string, edits: readonly JsonEdit[]): string {
  const splices: Splice[] = []
  const root = afterSpace(text, hasMark(text) ? 1 : 0)
  change(text, root, treeOf(edits), splices)
  let done = 0
  const parts: string[] = []
  // The sort is stable: text added at an offset comes before text removed from there.
  for (const { from, to, put } of splices.sort((a, b) => a.from - b.from || a.to - b.to)) {
    parts.push(text.slice(done, from), put)
    done = to
  }
  return [...parts, text.slice(done)].join('')
}

/**
 * Edits a text whose value was `before` so that it becomes `after`. Only differences are edited, and elements of a list
 * that changes its length keep their text. Undefined if nothing differs.
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

/** The change of a value: a new value, or changes inside it. */
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
  /** Start of its key, or of its value in a list. */
  readonly from: number
  readonly value: number
  readonly to: number
}

/** The members of the list or object that starts at `at`, and the index of its closing bracket. */
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

/** The index after the value that starts at `at`. */
function afterValue(text: string, at: number): number {
  let open = 0
  for (; at < text.length; at++) {
    const char = text[at]!
    if (char === '"') at = afterString(text, at) - 1
    else if (char === '{' || char === '[') open++
    else if (char === '}' || char === ']') {
      // The closing bracket of the list or object around a bare word or number.
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

/** A new object made of changes. */
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
    // Added text has its own white space.
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

/** The text between two members of a list or object. */
function separatorOf(text: string, open: number, members: readonly Member[], style: Style): string {
  const [first, second] = members
  if (second) return text.slice(first!.to, second.from)
  const lead = first ? text.slice(open + 1, first.from) : ''
  return lead.includes('\n') ? `,${lead}` : style.comma
}

/** How a value is formatted at a place. */
interface Style {
  /** Whether each member has its own line. */
  readonly lines: boolean
  readonly eol: string
  /** Indentation of the line on which the value starts. */
  readonly indent: string
  readonly unit: string
  readonly colon: string
  readonly comma: string
}

/** The style around the value at `at`: that of its own members if it has any, else that of the whole text. */
function styleAt(text: string, at: number): Style {
  const line = text.lastIndexOf('\n', at) + 1
  const indent = /^[ \t]*/.exec(text.slice(line, at))![0]
  const root = afterSpace(text, hasMark(text) ? 1 : 0)
  const [top, own] = [root, at].map((open) => leadOf(text, open))
  const lead = own ?? top
  // The root's first member is indented by one step.
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

/** The formatting of the first member of the list or object at `open`; undefined if it is empty. */
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

/**
 * The text of a value that replaces the one at `at`. Elements that were in the old list keep their text and separators.
 */
function replaced(text: string, at: number, value: unknown): string {
  const style = styleAt(text, at)
  if (!Array.isArray(value) || text[at] !== '[' || value.length === 0) return printed(value, style)
  const { members, close } = membersOf(text, at)
  if (members.length === 0) return printed(value, style)
  const before = members.map((member) => text.slice(member.value, member.to))
  // Equal elements use their old texts in turn, and repeat the last one.
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

/** A key that distinguishes values like `sameJson`. */
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
