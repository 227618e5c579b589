/** Texts of TypeScript source as patterns: what a message of it may look like. */

/** Whether a text of one line may be this message. */
export type Template = (text: string) => boolean

/** Fewer letters than these say nothing: every text has an ` is `. */
const LEAST_LETTERS = 6

/** Text before a `/` that makes it the start of a regular expression and not a division. */
const BEFORE_PATTERN = /(?:^|[(,=:[!&|?{};+]|\breturn|=>)\s*$/

/** Each string and template with enough fixed letters; what is filled in may be anything. Anywhere in a text. */
export function messageTemplates(source: string): Template[] {
  const found: Template[] = []
  scan(source, 0, found, false)
  return found
}

/** Reads code up to its end, or up to the `}` that closes a filled-in part. Returns where that is. */
function scan(source: string, start: number, found: Template[], inside: boolean): number {
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

function quoted(source: string, start: number, found: Template[]): number {
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

function template(source: string, start: number, found: Template[]): number {
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

function note(parts: readonly string[], found: Template[]): void {
  if (parts.join('').replace(/[^a-z]/gi, '').length < LEAST_LETTERS) return
  // A single word is a name in the source more often than a message.
  const isWord = parts.length === 1 && !parts[0]!.includes(' ')
  found.push(isWord ? (text) => text === parts[0] : (text) => stand(parts, text))
}

/** Whether the parts stand in the text one after another, with anything between them: the first places are as good as any. */
function stand(parts: readonly string[], text: string): boolean {
  let from = 0
  return parts.every((part) => {
    const at = text.indexOf(part, from)
    from = at + part.length
    return at >= 0
  })
}
