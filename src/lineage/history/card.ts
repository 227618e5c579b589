/** Reads what a model card says of its model. Cards are anybody's: few keys are parsed, of limited size, and nothing in them runs. */
import { entriesOf, oneOrMore, textOf, wordOf } from '../../language/cursor.js'
import { readText } from '../../language/source.js'
import type { License } from '../types.js'

/** In bytes. Cards with tables of results have several MB; longer ones are not read. */
export const MOST_CARD = 8 * 2 ** 20
/** In characters: the keys that terge reads are short. */
const MOST_KEYS = 2 ** 16
/** Of a name or an address. */
const MOST_WORD = 1000
/** Of models and tags. */
const MOST_ITEMS = 200

/** What a model card says. Nobody has checked it. */
export interface Card {
  readonly license?: License
  /** The repositories that the model was made from. */
  readonly bases: readonly string[]
  readonly tags: readonly string[]
}

const KEYS = /^(license|license_name|license_link|base_model|tags)[ \t]*:/

/** The lines of the wanted keys. Results of evaluations, which can be very long, are not parsed. */
function wantedLines(front: string): string {
  let wanted = false
  const lines: string[] = []
  let length = 0
  for (const line of front.split(/\r?\n/)) {
    if (/^[^\s#-]/.test(line)) wanted = KEYS.test(line)
    if (!wanted) continue
    length += line.length + 1
    if (length > MOST_KEYS) break
    lines.push(line)
  }
  return lines.join('\n')
}

/** Text of one line without control characters; undefined for anything else. */
function word(value: string | undefined): string | undefined {
  const text = value?.trim()
  return text === undefined || text === '' || text.length > MOST_WORD || /[\u0000-\u001f\u007f-\u009f]/.test(text)
    ? undefined
    : text
}

/** Reads the front matter of a card: YAML between two lines of three hyphens. A damaged one says nothing. */
export function readCard(text: string): Card {
  const nothing: Card = { bases: [], tags: [] }
  const front = /^\ufeff?\s*---[ \t]*\r?\n([\s\S]*?)\r?\n---[ \t]*(?:\r?\n|$)/.exec(text)?.[1]
  if (front === undefined) return nothing
  const lines = wantedLines(front)
  if (lines.trim() === '') return nothing
  const { root, faults } = readText('README.md', lines)
  if (!root || faults.some(({ severity }) => severity === 'error')) return nothing
  const values = new Map(entriesOf({ node: root, path: [] }))
  const textsOf = (key: string): string[] =>
    oneOrMore(values.get(key))
      .slice(0, MOST_ITEMS)
      .flatMap((at) => word(wordOf(at) ?? textOf(at)) ?? [])
  const [id, ...more] = textsOf('license').map((one) => one.toLowerCase())
  const [name] = textsOf('license_name')
  const [link] = textsOf('license_link')
  // A model under one of several licenses has no single word on the hub either.
  const license: License = {
    ...(id === undefined ? {} : { id: more.length > 0 ? 'other' : id }),
    ...(more.length > 0 ? { name: [id, ...more].join(' or ') } : name === undefined ? {} : { name }),
    ...(link === undefined ? {} : { link }),
  }
  return {
    ...(Object.keys(license).length > 0 ? { license } : {}),
    bases: textsOf('base_model'),
    tags: textsOf('tags'),
  }
}
