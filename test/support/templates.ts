/** Texts of TypeScript source as patterns: what a message of it may look like. */

/** Fewer letters than these say nothing: every text has an ` is `. */
const LEAST_LETTERS = 6

/** Text before a `/` that makes it the start of a regular expression and not a division. */
const BEFORE_PATTERN = /(?:^|[(,=:[!&|?{};+]|\breturn|=>)\s*$/

/** Each string and template with enough fixed letters; what is filled in may be anything. Anywhere in a text. */
export function messageTemplates(source: string): RegExp[] {
  const found: RegExp[] = []
  scan(source, 0, found, false)
  return found
}

/** Reads code up to its end, or up to the `}` that closes a filled-in part. Returns where that is. */
function scan(source: string, start: number, found: RegExp[], inside: boolean): number {
  let depth = 0
  for (let at = start; at < source.length; at++) {
    const mark = source[at]!
    if (mark === '{') depth++
    else if (mark === '}' && depth-- === 0 && inside) return at
    else if (mark === "'" || mark === '"') at = quoted(source, at, found)
    else if (mark === '`') at = template(source, at, found)
    else if (mark === '/' && source[at + 1] === '/') at = endOf(source, at, '\n')
    else if (mark === '/' && source[at + 1] === '*') at = endOf(source, at, '*/') + 1
    else if (mark === '/' && BEFORE_PATTERN.test(source.slice(Math.max(0, at - 20), at))) at = pattern(source, at)
  }
  return source.length
}

const endOf = (source: string, from: number, mark: string): number => {
  const at = source.indexOf(mark, from)
  return at < 0 ? source.length : at
}

function quoted(source: string, start: number, found: RegExp[]): number {
  let text = ''
  for (let at = start + 1; at < source.length; at++) {
    const mark = source[at]!
    if (mark === source[start] || mark === '\n') {
      note([text], found)
      return at
    }
    if (mark === '\\') at++
    text += source[at]
  }
  return source.length
}

function template(source: string, start: number, found: RegExp[]): number {
  const parts = ['']
  for (let at = start + 1; at < source.length; at++) {
    const mark = source[at]!
    if (mark === '`') {
      note(parts, found)
      return at
    }
    if (mark === '$' && source[at + 1] === '{') {
      at = scan(source, at + 2, found, true)
      parts.push('')
      continue
    }
    if (mark === '\\') at++
    parts.push(`${parts.pop()}${source[at]}`)
  }
  return source.length
}

function pattern(source: string, start: number): number {
  let inClass = false
  for (let at = start + 1; at < source.length; at++) {
    const mark = source[at]
    if (mark === '\n') return start
    if (mark === '\\') at++
    else if (mark === '[') inClass = true
    else if (mark === ']') inClass = false
    else if (mark === '/' && !inClass) return at
  }
  return start
}

function note(parts: readonly string[], found: RegExp[]): void {
  if (parts.join('').replace(/[^a-z]/gi, '').length < LEAST_LETTERS) return
  const escaped = parts.map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
  const filled = escaped.filter((part, index) => part !== '' || (index > 0 && index < parts.length - 1))
  // A single word is a name in the source more often than a message.
  const isWord = parts.length === 1 && !parts[0]!.includes(' ')
  found.push(new RegExp(isWord ? `^${filled[0]}$` : filled.join('.*')))
}
