/** Reads the XML of S3's answers: elements and text, nothing else. Documents with anything else are refused. */
import { RequestError } from '../remote/request.js'

export interface Element {
  readonly name: string
  readonly children: readonly Element[]
  /** Text directly in it. */
  readonly text: string
}

interface Open {
  name: string
  children: Element[]
  text: string
}

/** S3's answers have four levels. */
const DEEPEST = 8
const ENTITIES: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }
const NAME = '[A-Za-z_][\\w.:-]*'
const TOKEN = new RegExp(`<(/)?(${NAME})((?:\\s+${NAME}\\s*=\\s*(?:"[^"<]*"|'[^'<]*'))*)\\s*(/)?>|([^<]+)`, 'y')

/** Parses a document. Throws a `RequestError` if it is not one. */
export function parseXml(document: string): Element {
  const text = document.replace(/^\uFEFF?\s*(?:<\?xml[^<>]*\?>\s*)?/, '').trimEnd()
  const top: Open = { name: '', children: [], text: '' }
  const open: Open[] = [top]
  TOKEN.lastIndex = 0
  while (TOKEN.lastIndex < text.length) {
    const token = TOKEN.exec(text)
    const current = open.at(-1)!
    // After a failure `lastIndex` is 0.
    if (!token) throw invalid()
    const [, closes, name, , empty, plain] = token
    if (plain !== undefined) {
      if (current === top) throw invalid()
      current.text += plainText(plain)
    } else if (closes !== undefined) {
      if (current === top || current.name !== name || empty !== undefined) throw invalid()
      open.pop()
      open.at(-1)!.children.push(current)
    } else {
      if (open.length > DEEPEST || (current === top && top.children.length > 0)) throw invalid()
      const made: Open = { name: name!, children: [], text: '' }
      if (empty === undefined) open.push(made)
      else current.children.push(made)
    }
  }
  const [root] = top.children
  if (open.length !== 1 || !root) throw invalid()
  return root
}

const invalid = (): RequestError => new RequestError('the answer is not valid XML')

const plainText = (text: string): string =>
  text.replace(/&(?:#x([0-9a-fA-F]{1,6})|#(\d{1,7})|(\w+));|&/g, (_, hex, decimal, name) => {
    const code = hex !== undefined ? Number.parseInt(hex, 16) : Number(decimal)
    const found = name !== undefined ? ENTITIES[name] : code <= 0x10ffff ? String.fromCodePoint(code) : undefined
    if (found === undefined) throw invalid()
    return found
  })

/** The text of an element that occurs at most once; undefined if it is absent. */
export const childText = ({ children }: Element, name: string): string | undefined =>
  children.find((child) => child.name === name)?.text

/** The text of a child of a document's root; undefined if there is none, or the document is not XML. */
export function textIn(document: string, name: string): string | undefined {
  try {
    return childText(parseXml(document), name)
  } catch {
    return undefined
  }
}
