/** Parses text to a tree with places. Unsafe or ambiguous YAML is an error here. */

import { Composer, type CST, type Document, Lexer, Parser } from 'yaml'
import type { Diagnostic } from '../core/diagnostics.js'
import { type Complain, convert } from './convert.js'
import { makeOrigin, type Node, type Origin, type Span, spanPlace } from './tree.js'

/** In characters. Recipes are written by hand, so a longer text is not a recipe. */
export const LONGEST_TEXT = 1_000_000
/** In characters. Each error shows its whole line. */
const LONGEST_LINE = 50_000
/** Parsing takes about 10 µs per token, so the worst text takes a few seconds. */
const MOST_TOKENS = 250_000
const DEEPEST = 64
const MOST_FAULTS = 500
/** Number of nodes, with aliases expanded. */
const MOST_NODES = 200_000

export interface Source {
  readonly origin: Origin
  /** Absent after errors that leave nothing to check. */
  readonly root?: Node
  readonly faults: readonly Diagnostic[]
  /** Whether more documents follow the first one. */
  readonly several: boolean
}

/**
 * `from`: offset in `origin` at which the YAML starts, such as after the key of a `--set`. `python`: read it like
 * PyYAML, with the merge keys and numbers of YAML 1.1. Of a repeated key the last value is used, with a warning.
 */
export function parseSource(origin: Origin, from = 0, python = false): Source {
  const faults: Diagnostic[] = []
  const complain: Complain = (code, message, span, hint) => {
    if (faults.length < MOST_FAULTS)
      faults.push({ severity: 'error', code, message, place: spanPlace(span), ...(hint === undefined ? {} : { hint }) })
  }
  const text = origin.text.slice(from)
  const stop = (): Source => ({ origin, faults, several: false })
  const at = (start: number, end = start + 1): Span => ({ origin, start: from + start, end: from + end })

  if (refusesText(text, origin, faults, complain, at)) return stop()
  const { first, several, deepAt, tooMany } = composeSafely(text)
  if (tooMany) {
    complain(
      'too-large',
      'the recipe has too many values',
      at(0),
      'use patterns such as model.layers.** instead of single names',
    )
    return stop()
  }
  if (deepAt !== undefined) {
    complain('too-deep', `values can be nested at most ${DEEPEST} levels deep`, at(deepAt), 'use fewer levels')
    return stop()
  }
  if (first === undefined) {
    complain('syntax', 'the recipe is empty', at(0), 'start with terge: 1, or run terge init')
    return stop()
  }
  if (syntaxFaults(first, complain, at)) return { origin, faults, several }
  const warn: Complain = (code, message, span, hint) =>
    void (
      faults.length < MOST_FAULTS &&
      faults.push({
        severity: 'warning',
        code,
        message,
        place: spanPlace(span),
        ...(hint === undefined ? {} : { hint }),
      })
    )
  const root = convert(first, complain, at, python ? warn : undefined)
  if (root && (root.size > MOST_NODES || root.depth > DEEPEST)) {
    const what =
      root.size > MOST_NODES ? `has more than ${MOST_NODES} values` : `is nested more than ${DEEPEST} levels deep`
    complain('too-large', `with its aliases expanded, the recipe ${what}`, at(0), 'use fewer or smaller aliases')
    return { origin, faults, several }
  }
  return { origin, faults, several, ...(root ? { root } : {}) }
}

/** Reports a text that must not be parsed: too long, or with control characters. */
function refusesText(
  text: string,
  origin: Origin,
  faults: Diagnostic[],
  complain: Complain,
  at: (start: number) => Span,
): boolean {
  if (text.length > LONGEST_TEXT) {
    const message = `a recipe can have at most ${LONGEST_TEXT} characters; this one has ${text.length}`
    complain('too-long', message, at(0), 'make sure that the file is a recipe, or split it into several recipes')
    return true
  }
  const control = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]|\r(?!\n)/.exec(text)
  if (control) {
    const code = control[0].charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')
    const message = `YAML does not allow the control character U+${code}`
    complain('syntax', message, at(control.index), 'remove it, and make sure that the file is a text file')
    return true
  }

  const long = origin.lines.findIndex((start, i) => (origin.lines[i + 1] ?? origin.text.length) - start > LONGEST_LINE)
  if (long >= 0) {
    const message = `a line can have at most ${LONGEST_LINE} characters; line ${long + 1} is longer`
    faults.push({ severity: 'error', code: 'too-long', message, hint: 'break the line' })
    return true
  }
  return false
}

interface Composed {
  readonly first?: Document
  readonly several: boolean
  /** Offset of the first value that is nested too deeply. */
  readonly deepAt?: number
  readonly tooMany?: true
}

/** The first document, or why there is none. */
function composeSafely(text: string): Composed {
  // The library makes an Error with a stack per error, and a broken text has thousands. The stacks are most of the work.
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = 0
  try {
    return compose(text)
  } catch (error) {
    // The composer is recursive. Anything that the depth check misses ends here and not in a crash.
    if (!(error instanceof RangeError)) throw error
    return { several: false, deepAt: 0 }
  } finally {
    Error.stackTraceLimit = stackTraceLimit
  }
}

/** Composes the first document, and stops at the start of a second one. */
function compose(text: string): Composed {
  const parser = new Parser()
  // Duplicate keys are found in `convert`: the library's own check takes quadratic time.
  const composer = new Composer({ uniqueKeys: false, version: '1.2', merge: false, prettyErrors: false })
  let first: Document | undefined
  let deepAt: number | undefined
  /** True if there is a second document, or if composing must stop. */
  const take = (tokens: Iterable<CST.Token>): boolean => {
    for (const token of tokens) {
      deepAt = token.type === 'document' ? tooDeep(token.value) : undefined
      if (deepAt !== undefined) return true
      for (const document of composer.next(token)) {
        if (first) return true
        first = document
      }
    }
    return false
  }
  let count = 0
  for (const lexeme of new Lexer().lex(text)) {
    if (++count > MOST_TOKENS) return { several: false, tooMany: true }
    if (take(parser.next(lexeme))) return ended(first, deepAt)
    // The parser's stack has one or two entries per level of nesting. The rest need not be read.
    if (parser.stack.length > 4 * DEEPEST) return { several: false, deepAt: parser.offset }
  }
  if (take(parser.end())) return ended(first, deepAt)
  for (const document of composer.end(true, text.length)) {
    if (first) return { first, several: true }
    first = document
  }
  // A text with only comments is a document without contents and without errors.
  const empty = first?.contents === null && first.errors.length === 0
  return { ...(first && !empty ? { first } : {}), several: false }
}

const ended = (first: Document | undefined, deepAt: number | undefined): Composed =>
  deepAt !== undefined ? { several: false, deepAt } : { ...(first ? { first } : {}), several: true }

/** Offset of the first value in the parser's own tree that is nested too deeply. */
function tooDeep(value: unknown): number | undefined {
  const open: { value: unknown; depth: number }[] = [{ value, depth: 1 }]
  for (let item = open.pop(); item; item = open.pop()) {
    if (typeof item.value !== 'object' || item.value === null || !('items' in item.value)) continue
    const { items, offset } = item.value as { items: { key?: unknown; value?: unknown }[]; offset: number }
    if (item.depth > DEEPEST) return offset
    for (const { key, value: inner } of items) {
      if (inner) open.push({ value: inner, depth: item.depth + 1 })
      if (key) open.push({ value: key, depth: item.depth + 1 })
    }
  }
  return undefined
}

/** True if the tree is not reliable. Then only the first error is reported, because most others follow from it. */
function syntaxFaults(document: Document, complain: Complain, at: (start: number, end?: number) => Span): boolean {
  const [error] = [...document.errors].sort((a, b) => a.pos[0] - b.pos[0])
  if (error) {
    const hint =
      error.code === 'TAB_AS_INDENT' || error.message.includes('Tabs')
        ? 'indent with spaces'
        : error.code === 'BLOCK_AS_IMPLICIT_KEY' || error.code === 'MULTILINE_IMPLICIT_KEY'
          ? 'check the indentation, and quote any string that contains ": "'
          : undefined
    const message = error.message.replace(/\s+/g, ' ')
    complain('syntax', `${message[0]?.toLowerCase()}${message.slice(1)}`, at(error.pos[0], error.pos[1]), hint)
    return true
  }
  const version = document.directives?.yaml
  if (version?.explicit && version.version !== '1.2') {
    complain('syntax', `recipes are YAML 1.2, not ${version.version}`, at(0), 'remove the %YAML line')
    return true
  }
  for (const warning of document.warnings)
    complain('syntax', warning.message.replace(/\s+/g, ' '), at(warning.pos[0], warning.pos[1]), 'remove the tag')
  return false
}

export const readText = (file: string, text: string): Source =>
  parseSource(makeOrigin(file, text.replace(/^\ufeff/, '')))

/** Documents per file. mergekit's own examples have a few. */
const MOST_DOCUMENTS = 100

/** All documents of a file, read with the merge keys of YAML 1.1, as in mergekit configurations. */
export function readDocuments(file: string, text: string): { roots: readonly Node[]; faults: readonly Diagnostic[] } {
  const origin = makeOrigin(file, text.replace(/^\ufeff/, ''))
  // A line with --- starts a document everywhere, even inside a multi-line string.
  const starts = [0, ...[...origin.text.matchAll(/^---(?=\s|$)/gm)].map(({ index }) => index)]
  const filled = starts.filter((start, i) => {
    const piece = origin.text.slice(start, starts[i + 1]).replace(/^---/, '')
    return /^[ \t]*[^\s#%]/m.test(piece)
  })
  const faults: Diagnostic[] = []
  const roots: Node[] = []
  for (const start of filled.slice(0, MOST_DOCUMENTS)) {
    const source = parseSource(origin, start, true)
    faults.push(...source.faults)
    if (source.root) roots.push(source.root)
  }
  if (filled.length > MOST_DOCUMENTS) {
    const place = spanPlace({ origin, start: filled[MOST_DOCUMENTS]!, end: filled[MOST_DOCUMENTS]! + 3 })
    const message = `a file can have at most ${MOST_DOCUMENTS} documents; this one has ${filled.length}`
    faults.push({ severity: 'error', code: 'too-large', message, place, hint: 'split the file' })
  }
  return { roots, faults }
}
