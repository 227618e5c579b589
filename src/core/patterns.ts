/**
 * Patterns for tensor names. A plain string is the exact name. `*` matches any text, also none, within one dotted part;
 * `**` matches across parts. Beside a dot, `**` may also match no part: `**.weight` matches `weight`, and `a.**.b`
 * matches `a.b`, but `a.**` does not match `a`. `/…/` is a regular expression in RE2 syntax that may match anywhere in
 * the name. Matching takes linear time for every pattern, since recipes may be untrusted.
 */
import { createRequire } from 'node:module'

export interface Pattern {
  readonly kind: 'exact' | 'glob' | 'regex'
  readonly text: string
  readonly matches: (name: string) => boolean
}

export interface PatternFault {
  readonly kind: 'fault'
  readonly message: string
  /** The place of the error in the pattern, in characters. */
  readonly offset: number
  readonly length: number
}

/** Matching costs pattern length × name length, so the pattern length is limited. */
const LONGEST = 1000
/** Maximum instructions of a compiled regular expression and of its repetitions: matching costs that × name length. */
const LARGEST = 1000

const require = createRequire(import.meta.url)

/** Never throws. The engine for regular expressions is loaded on first use. */
export function compilePattern(text: string): Pattern | PatternFault {
  if (text === '') return { kind: 'fault', message: 'a pattern must not be empty', offset: 0, length: 1 }
  if (text.length > LONGEST)
    return { kind: 'fault', message: `a pattern must have at most ${LONGEST} characters`, offset: LONGEST, length: 1 }
  if (text.length > 1 && text.startsWith('/') && text.endsWith('/')) return compileRegex(text)
  if (text.includes('*')) return { kind: 'glob', text, matches: compileGlob(text) }
  return { kind: 'exact', text, matches: (name) => name === text }
}

function compileRegex(text: string): Pattern | PatternFault {
  const source = text.slice(1, -1)
  if (source === '') return { kind: 'fault', message: 'the regular expression is empty', offset: 0, length: 2 }
  const large = {
    kind: 'fault',
    message: 'the regular expression is too large once its repetitions are expanded',
    offset: 1,
    length: source.length,
  } as const
  const repeated = [...source.matchAll(/\{(\d+)(?:,(\d*))?\}/g)]
  if (repeated.reduce((sum, [, low, high]) => sum + Math.max(Number(low), Number(high ?? 0)), 0) > LARGEST) return large
  const { RE2JS } = require('re2js') as typeof import('re2js')
  try {
    const compiled = RE2JS.compile(source)
    if (compiled.programSize() > LARGEST) return large
    return { kind: 'regex', text, matches: (name) => compiled.matcher(name).find() }
  } catch (error) {
    return regexFault(source, error instanceof Error ? error.message : String(error))
  }
}

/** The engine reports the text of the wrong piece, not its place. The first occurrence is marked. */
function regexFault(source: string, complaint: string): PatternFault {
  const [, what, piece] = /^error parsing regexp: (.*?)(?:: `(.*)`)?$/s.exec(complaint) ?? [undefined, complaint]
  const lookaround = /\(\?<?[=!]/.exec(source)
  if (lookaround)
    return {
      kind: 'fault',
      message: 'look-ahead and look-behind are not supported: regular expressions must run in linear time',
      offset: 1 + lookaround.index,
      length: lookaround[0].length,
    }
  const found = piece === undefined || piece === '' ? -1 : source.indexOf(piece)
  const message = `invalid regular expression: ${what}`
  return found < 0 || piece === undefined
    ? { kind: 'fault', message, offset: 1, length: source.length }
    : { kind: 'fault', message, offset: 1 + found, length: piece.length }
}

const STAR = -1
const STARS = -2
/** `**.` at the start or after a dot: nothing, or whole parts that each end in a dot. */
const PARTS = -3

/**
 * Compiles a glob into an automaton. Its states are positions in the glob, and all active states advance together.
 * Tokens are character codes or wildcards. After PARTS, the next token may only start at the start of a part.
 */
function compileGlob(text: string): (name: string) => boolean {
  const tokens: number[] = []
  for (let i = 0; i < text.length; i++) {
    if (text[i] !== '*') {
      tokens.push(text.charCodeAt(i))
      continue
    }
    const start = i
    while (text[i + 1] === '*') i++
    const whole = i > start && (start === 0 || text[start - 1] === '.') && text[i + 1] === '.'
    if (whole) i++
    tokens.push(whole ? PARTS : i > start ? STARS : STAR)
  }
  const end = tokens.length
  const DOT = 46
  return (name) => {
    let alive: number[] = []
    let next: number[] = []
    // The position in the name at which a state was last entered, so that no state is entered twice.
    const entered = new Int32Array(end + 1).fill(-1)
    const enter = (states: number[], state: number, at: number): void => {
      for (let s = state; entered[s] !== at; s++) {
        entered[s] = at
        states.push(s)
        const token = tokens[s]
        const opens = token === PARTS ? at === 0 || name.charCodeAt(at - 1) === DOT : token === STAR || token === STARS
        if (!opens) break
      }
    }
    enter(alive, 0, 0)
    for (let at = 0; at < name.length && alive.length > 0; at++) {
      const code = name.charCodeAt(at)
      next = []
      for (const state of alive) {
        const token = tokens[state]
        if (token === undefined) continue
        if (token >= 0) {
          if (token === code) enter(next, state + 1, at + 1)
        } else if (token !== STAR || code !== DOT) enter(next, state, at + 1)
      }
      alive = next
    }
    return alive.includes(end)
  }
}
