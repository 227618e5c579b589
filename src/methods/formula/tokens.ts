/** Cuts a formula into tokens. Nothing else than the characters of the language gets through. */
import { quote } from '../../core/suggest.js'
import { formulaFault } from './faults.js'
import type { At, FormulaFault } from './types.js'

export interface Token extends At {
  readonly kind: 'number' | 'name' | 'sign' | 'end'
  readonly text: string
}

/** Numbers, names, signs. The longest sign first. */
const TOKEN =
  /(\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)|([A-Za-z_][A-Za-z0-9_]*)|(<=|>=|==|!=|[-+*/^<>()[\],])/y
const SPACE = /[ \t\r\n]+/y

/** What people write for a sign of the language. */
const MEANT: ReadonlyMap<string, string> = new Map([
  ['−', '-'],
  ['–', '-'],
  ['·', '*'],
  ['×', '*'],
  ['÷', '/'],
  ['≤', '<='],
  ['≥', '>='],
  ['≠', '!='],
  ['=', '=='],
  ['δ', 'delta'],
  ['Δ', 'delta'],
  ['Σ', 'sum(…)'],
  ['∑', 'sum(…)'],
  ['²', '^2'],
  ['√', 'sqrt(…)'],
])

/** The tokens up to the first error in the text, and that error. The last token is the end if there is none. */
export function tokensOf(text: string): { readonly tokens: readonly Token[]; readonly fault?: FormulaFault } {
  const tokens: Token[] = []
  for (let at = 0; at < text.length; ) {
    SPACE.lastIndex = at
    if (SPACE.test(text)) {
      at = SPACE.lastIndex
      continue
    }
    TOKEN.lastIndex = at
    const found = TOKEN.exec(text)
    if (!found) return { tokens, fault: unknownCharacter(text, at) }
    const [all, number, name] = found
    const token = { text: all, start: at, end: at + all.length }
    at += all.length
    if (number !== undefined && !Number.isFinite(Number(number)))
      return { tokens, fault: formulaFault(`${quote(number)} is too large for a number`, token) }
    tokens.push({ kind: number !== undefined ? 'number' : name !== undefined ? 'name' : 'sign', ...token })
  }
  const last = tokens.at(-1)?.end ?? 0
  tokens.push({ kind: 'end', text: '', start: last, end: last })
  return { tokens }
}

function unknownCharacter(text: string, at: number): FormulaFault {
  const character = String.fromCodePoint(text.codePointAt(at)!)
  const meant = MEANT.get(character)
  const hint = meant === undefined ? undefined : `write ${meant}`
  return formulaFault(`formulas can’t contain ${quote(character)}`, { start: at, end: at + character.length }, hint)
}
