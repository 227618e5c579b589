/**
 * Parses a formula. From weakest to strongest: comparisons (not in chains), `+ -`, `* /`, signs, `^` (binds to the
 * right, and stronger than a sign before it), then numbers, names, calls and parentheses. No code of the host is made
 * or run.
 */
import { quote } from '../../core/suggest.js'
import { formulaFault, Stop, stop } from './faults.js'
import { type Token, tokensOf } from './tokens.js'
import {
  type Arithmetic,
  type At,
  type Comparison,
  DEEPEST,
  type FormulaFault,
  LONGEST_FORMULA,
  MOST_NODES,
  type Node,
  type Parsed,
} from './types.js'

const COMPARISONS: ReadonlySet<string> = new Set(['<', '<=', '>', '>=', '==', '!='])

interface State {
  readonly tokens: readonly Token[]
  /** The error behind the last token. */
  readonly fault: FormulaFault | undefined
  readonly text: string
  at: number
  depth: number
  nodes: number
}

/** The tree of a formula, or the first error in it. */
export function parseFormula(text: string): Parsed {
  const whole = { start: 0, end: text.length }
  const refuse = (message: string, hint: string): Parsed => ({ fault: formulaFault(message, whole, hint) })
  if (text.length > LONGEST_FORMULA)
    return refuse(`a formula can have at most ${LONGEST_FORMULA} characters; this one has ${text.length}`, 'shorten it')
  const { tokens, fault } = tokensOf(text)
  if (tokens.every(({ kind }) => kind === 'end') && !fault)
    return refuse('the formula is empty', 'write a formula such as "mean(x)"')
  const state: State = { tokens, fault, text, at: 0, depth: 0, nodes: 0 }
  try {
    const root = comparison(state)
    const rest = next(state)
    if (rest.kind !== 'end') unexpected(state, rest, 'an operator')
    return { root }
  } catch (error) {
    if (error instanceof Stop) return { fault: error.fault }
    throw error
  }
}

/** The next token. Throws the error of the text if no token is left before it. */
function next({ tokens, at, fault }: State): Token {
  const token = tokens[at]
  if (token) return token
  throw new Stop(fault!)
}

const isSign = (state: State, ...signs: readonly string[]): boolean => {
  const { kind, text } = next(state)
  return kind === 'sign' && signs.includes(text)
}

function take(state: State): Token {
  const token = next(state)
  state.at++
  return token
}

/** By the sign that has no place. */
const HINTS: ReadonlyMap<string, string> = new Map([
  [',', 'only the arguments of a function have commas'],
  ['[', 'only x, delta, w and parameters with a value per model have an index'],
  ['(', 'write * to multiply'],
])

function unexpected(state: State, token: Token, wanted: string): never {
  const before = state.tokens[state.at - 1]
  const power = token.text === '*' && before?.text === '*'
  if (token.kind === 'end') return stop(`the formula ends where ${wanted} was expected`, token)
  const adjacent = wanted === 'an operator' && token.kind !== 'sign'
  const hint = power ? 'write ^ for a power' : adjacent ? 'write * to multiply' : HINTS.get(token.text)
  return stop(`${quote(token.text)} where ${wanted} was expected`, token, hint)
}

function made<N extends Node>(state: State, node: N): N {
  if (++state.nodes > MOST_NODES) stop(`a formula can have at most ${MOST_NODES} terms`, node.at, 'shorten it')
  return node
}

/** One level of nesting deeper. */
function deeper<T>(state: State, at: At, parse: () => T): T {
  if (++state.depth > DEEPEST)
    stop(`a formula can be nested at most ${DEEPEST} levels deep`, at, 'use fewer parentheses')
  const result = parse()
  state.depth--
  return result
}

function comparison(state: State): Node {
  const left = sum(state)
  const sign = next(state)
  if (sign.kind !== 'sign' || !COMPARISONS.has(sign.text)) return left
  take(state)
  const right = sum(state)
  const chained = next(state)
  if (chained.kind === 'sign' && COMPARISONS.has(chained.text))
    stop('comparisons can’t be chained', chained, 'nest where(…): where(a < b, where(b < c, …, …), …)')
  const at = { start: left.at.start, end: right.at.end }
  return made(state, { kind: 'compare', sign: sign.text as Comparison, left, right, at })
}

/** Operators of one strength, which bind to the left. */
function chain(state: State, signs: readonly Arithmetic[], operand: (state: State) => Node): Node {
  let left = operand(state)
  while (isSign(state, ...signs)) {
    const sign = take(state).text as Arithmetic
    const right = operand(state)
    left = made(state, { kind: 'arithmetic', sign, left, right, at: { start: left.at.start, end: right.at.end } })
  }
  return left
}

const sum = (state: State): Node => chain(state, ['+', '-'], product)
const product = (state: State): Node => chain(state, ['*', '/'], signed)

function signed(state: State): Node {
  if (!isSign(state, '-', '+')) return power(state)
  const sign = take(state)
  const of = deeper(state, sign, () => signed(state))
  return sign.text === '+' ? of : made(state, { kind: 'negate', of, at: { start: sign.start, end: of.at.end } })
}

function power(state: State): Node {
  const left = primary(state)
  if (!isSign(state, '^')) return left
  const sign = take(state)
  const right = deeper(state, sign, () => signed(state))
  return made(state, { kind: 'arithmetic', sign: '^', left, right, at: { start: left.at.start, end: right.at.end } })
}

function primary(state: State): Node {
  const token = take(state)
  if (token.kind === 'number') return made(state, { kind: 'number', value: Number(token.text), at: spanOf(token) })
  if (token.kind === 'name') {
    if (isSign(state, '(')) return call(state, token)
    return isSign(state, '[')
      ? indexed(state, token)
      : made(state, { kind: 'name', name: token.text, at: spanOf(token) })
  }
  if (token.text !== '(') {
    state.at--
    return unexpected(state, token, 'a number, a name or a parenthesis')
  }
  const inner = deeper(state, token, () => comparison(state))
  close(state, ')', token)
  return inner
}

const spanOf = ({ start, end }: At): At => ({ start, end })

/** Takes a closing bracket. Returns the offset behind it. */
function close(state: State, bracket: ')' | ']', opened: Token, wanted = `an operator or ${bracket}`): number {
  if (isSign(state, bracket)) return take(state).end
  const token = next(state)
  if (token.kind === 'end') return stop(`${quote(opened.text)} is never closed`, opened, `add ${bracket}`)
  return unexpected(state, token, wanted)
}

function call(state: State, name: Token): Node {
  const open = take(state)
  const args: Node[] = []
  if (!isSign(state, ')'))
    deeper(state, name, () => {
      args.push(comparison(state))
      while (isSign(state, ',')) {
        take(state)
        args.push(comparison(state))
      }
    })
  const end = close(state, ')', open, 'an operator, a comma or )')
  return made(state, { kind: 'call', name: name.text, args, at: { start: name.start, end }, named: spanOf(name) })
}

/** `x[0]`. The index is an integer as written, so that the formula says which models it uses. */
function indexed(state: State, name: Token): Node {
  const open = take(state)
  const token = take(state)
  if (token.kind !== 'number' || !/^\d+$/.test(token.text)) {
    if (token.kind === 'end') stop(`${quote('[')} is never closed`, open, 'add ]')
    stop('an index must be an integer from 0', token, `write an index such as ${name.text}[0], the first merged model`)
  }
  const end = close(state, ']', open)
  return made(state, { kind: 'name', name: name.text, index: Number(token.text), at: { start: name.start, end } })
}
