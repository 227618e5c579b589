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
  /** Keys that are there, but cannot be read. */
  readonly unread: readonly string[]
}

const KEYS = ['license', 'license_name', 'license_link', 'base_model', 'tags'] as const
type Key = (typeof KEYS)[number]
const KEY = new RegExp(`^(["']?)(${KEYS.join('|')})\\1[ \\t]*:`)
const isKey = (name: string | undefined): name is Key => KEYS.some((key) => key === name)

/**
 * The lines of each wanted key. Other keys, such as results of evaluations, can be very long and are not parsed. A key that is written
 * twice has all of its lines, which are no YAML.
 */
function blocksOf(front: string): Map<Key, string[]> {
  const lines = front.split(/\r?\n/)
  const indent = /^ */.exec(lines.find((line) => /^ *[^\s#]/.test(line)) ?? '')![0]
  const blocks = new Map<Key, string[]>()
  let block: string[] | undefined
  for (const whole of lines) {
    const line = whole.startsWith(indent) ? whole.slice(indent.length) : whole
    if (/^[^\s#-]/.test(line)) {
      const key = KEY.exec(line)?.[2]
      block = isKey(key) ? (blocks.get(key) ?? []) : undefined
      if (block && isKey(key)) blocks.set(key, block)
    }
    block?.push(line)
  }
  return blocks
}

/** Text of one line without control characters; undefined for anything else. */
function word(value: string | undefined): string | undefined {
  const text = value?.trim()
  return text === undefined || text === '' || text.length > MOST_WORD || /[\u0000-\u001f\u007f-\u009f]/.test(text)
    ? undefined
    : text
}

/** The texts of a key; undefined if they cannot be read. */
function textsOf(key: Key, lines: readonly string[]): string[] | undefined {
  const text = lines.join('\n')
  if (text.length > MOST_KEYS) return undefined
  const { root, faults } = readText('README.md', text)
  if (!root || faults.some(({ severity }) => severity === 'error')) return undefined
  const at = new Map(entriesOf({ node: root, path: [] })).get(key)
  if (at?.node.kind === 'scalar' && at.node.value === null) return []
  const texts = oneOrMore(at)
    .slice(0, MOST_ITEMS)
    .map((item) => word(wordOf(item) ?? textOf(item)))
  return texts.every((text) => text !== undefined) ? texts : undefined
}

const FRONT = /^\ufeff?\s*---[ \t]*\r?\n([\s\S]*?)\r?\n---[ \t]*(?:\r?\n|$)/
/** A front matter without an end, or without a key in its first line: a line of three hyphens is also a rule between paragraphs. */
const OPEN = /^\ufeff?\s*---[ \t]*\r?\n(?=[\s\S]*^\s*["']?license(_name|_link)?["']?[ \t]*:)/m

/**
 * Reads the front matter of a card: YAML between two lines of three hyphens. Each key is read by itself, so that a damaged one hides no other.
 */
export function readCard(text: string): Card {
  const front = FRONT.exec(text)?.[1]
  if (front === undefined) return { bases: [], tags: [], unread: OPEN.test(text) ? ['license'] : [] }
  const blocks = blocksOf(front)
  const unread: Key[] = []
  const found = new Map<Key, readonly string[]>()
  for (const [key, lines] of blocks) {
    const texts = textsOf(key, lines)
    if (texts) found.set(key, texts)
    else unread.push(key)
  }
  const all = (key: Key): readonly string[] => found.get(key) ?? []
  const [id, ...more] = all('license').map((one) => one.toLowerCase())
  const [name] = all('license_name')
  const [link] = all('license_link')
  // A model under one of several licenses has no single word on the hub either.
  const license: License = {
    ...(id === undefined ? {} : { id: more.length > 0 ? 'other' : id }),
    ...(more.length > 0 ? { name: [id, ...more].join(' or ') } : name === undefined ? {} : { name }),
    ...(link === undefined ? {} : { link }),
  }
  return {
    ...(Object.keys(license).length > 0 ? { license } : {}),
    ...{ bases: all('base_model'), tags: all('tags'), unread },
  }
}
