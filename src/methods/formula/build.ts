/** Makes the graph of a formula from its tree. */
import { plural } from '../../core/words.js'
import type { Resolved } from '../types.js'
import { QUANTILE_RANGE } from './check.js'
import { Stop, stop } from './faults.js'
import { functionOf } from './functions.js'
import {
  type Apply,
  applied,
  argsOf,
  type Condition,
  exactly,
  type Facts,
  type Graph,
  type Reduction,
  type ReductionName,
  type Value,
} from './graph.js'
import type { At, Comparison, Node } from './types.js'

/** What a formula is built with. */
export interface Known {
  /** Merged models. */
  readonly models: number
  readonly weights: readonly number[]
  readonly parameters: Readonly<Record<string, Resolved>>
}

/** Values of a formula that is written out. */
const MOST_VALUES = 20_000
/** Whole-tensor reductions, each with readings of the tensor. */
const MOST_REDUCTIONS = 256
const MOST_LEVELS = 16

interface Work extends Known {
  readonly values: Value[]
  readonly facts: Facts[]
  readonly reductions: Reduction[]
  /** By the text of a value or a reduction: its number. */
  readonly numbers: Map<string, number>
  /** By node, then by model (−1 outside of functions over models). */
  readonly known: Map<Node, Map<number, number>>
}

/** The graph of a formula without errors in names and types. Its faults are those that need the parameters' values. */
export function buildGraph(root: Node, known: Known): Graph {
  const work: Work = { ...known, values: [], facts: [], reductions: [], numbers: new Map(), known: new Map() }
  const { values, facts, reductions } = work
  try {
    return { values, facts, reductions, root: expand(work, root, -1), faults: [] }
  } catch (error) {
    if (error instanceof Stop) return { values, facts, reductions, root: -1, faults: [error.fault] }
    throw error
  }
}

/** Adds a value, or finds an equal one. */
function value(work: Work, of: Value, at: At): number {
  const { values, facts, numbers } = work
  const key = of.kind === 'constant' ? `${Object.is(of.value, -0) ? '-0' : of.value}` : JSON.stringify(of)
  const found = numbers.get(key)
  if (found !== undefined) return found
  if (values.length >= MOST_VALUES)
    stop(
      `written out for ${plural(work.models, 'model')}, the formula has more than ${MOST_VALUES} operations`,
      at,
      'shorten it',
    )
  numbers.set(key, values.push(of) - 1)
  facts.push(factsOf(work, of))
  return values.length - 1
}

function factsOf({ facts, reductions }: Work, of: Value): Facts {
  if (of.kind === 'constant') return { element: false, level: 0, near: of.value }
  if (of.kind === 'measured') return { element: false, level: reductions[of.reduction]!.level + 1 }
  const args = argsOf(of).map((arg) => facts[arg]!)
  const own = of.kind === 'ranked' ? reductions[of.reduction]!.level + 1 : 0
  const near = args.map((arg) => arg.near)
  const scalar = (of.kind === 'apply' || of.kind === 'where') && near.every((one) => one !== undefined)
  return {
    element: args.length === 0 || args.some(({ element }) => element),
    level: args.reduce((most, { level }) => Math.max(most, level), own),
    ...(scalar ? { near: applied(of.operation, near as number[], Math) } : {}),
  }
}

const constant = (work: Work, number: number, at: At): number => value(work, { kind: 'constant', value: number }, at)

const constantOf = ({ values }: Work, id: number): number | undefined => {
  const of = values[id]!
  return of.kind === 'constant' ? of.value : undefined
}

/** A function of values. Of numbers that are known it is a number, which must be finite. */
function apply(work: Work, operation: Apply | Condition, args: readonly number[], at: At): number {
  const simple = simplified(work, operation, args, at)
  if (simple !== undefined) return simple
  const numbers = args.map((arg) => constantOf(work, arg))
  const known = numbers.every((number) => number !== undefined) ? exactly(operation, numbers as number[]) : undefined
  if (known !== undefined) {
    refuseNotFinite(known, at)
    return constant(work, known, at)
  }
  const kind = operation.startsWith('where') ? 'where' : 'apply'
  const id = value(work, { kind, operation, args } as Value, at)
  const { near } = work.facts[id]!
  if (near !== undefined) refuseNotFinite(near, at)
  return id
}

function refuseNotFinite(number: number, at: At): void {
  if (Number.isFinite(number)) return
  const hint = 'change them, or choose another number there with where(…)'
  stop(`a part of the formula is ${number} with these weights and parameters`, at, hint)
}

/** A term that is exactly 0 before any tensor is read has no share: 0·e is 0, and 0 + e is e. So 0·inf spoils no sum. */
function simplified(work: Work, operation: string, [a = 0, b = 0]: readonly number[], at: At): number | undefined {
  const [left, right] = [constantOf(work, a), constantOf(work, b)]
  if (operation === 'add') return left === 0 ? b : right === 0 ? a : undefined
  if (operation === 'subtract' && right === 0) return a
  if (operation === 'power' && right === 2) return apply(work, 'multiply', [a, a], at)
  if (operation !== 'multiply') return undefined
  if (left === 0 || right === 0) return constant(work, 0, at)
  return left === 1 ? b : right === 1 ? a : undefined
}

/** `model`: the one that functions over models are at; −1 outside of them. */
function expand(work: Work, node: Node, model: number): number {
  const known = work.known.get(node) ?? new Map<number, number>()
  work.known.set(node, known)
  const id = known.get(model) ?? made(work, node, model)
  known.set(model, id)
  return id
}

const SIGNS = { '+': 'add', '-': 'subtract', '*': 'multiply', '/': 'divide', '^': 'power' } as const

function made(work: Work, node: Node, model: number): number {
  const { at } = node
  switch (node.kind) {
    case 'number':
      return constant(work, node.value, at)
    case 'name':
      return nameValue(work, node, node.index ?? model)
    case 'negate':
      return apply(work, 'negate', [expand(work, node.of, model)], at)
    case 'arithmetic':
      return apply(work, SIGNS[node.sign], [expand(work, node.left, model), expand(work, node.right, model)], at)
    case 'call':
      return callValue(work, node, model)
    case 'compare':
      throw new Error('internal: a comparison outside of where')
  }
}

function nameValue(work: Work, { name, at }: Node & { kind: 'name' }, model: number): number {
  if (name === 'x' || name === 'delta') return value(work, { kind: name === 'x' ? 'input' : 'delta', index: model }, at)
  if (name === 'base') return value(work, { kind: 'base' }, at)
  const of = name === 'w' ? work.weights : work.parameters[name]
  const number = typeof of === 'object' ? of[model] : of
  if (typeof number !== 'number') throw new Error(`internal: no value of ${name} in a formula`)
  return constant(work, number, at)
}

function callValue(work: Work, node: Node & { kind: 'call' }, model: number): number {
  const { name, args, at } = node
  const [first, second, third] = args
  const kind = functionOf(name)?.kind
  if (kind === 'where') return whereValue(work, node, model)
  if (kind === 'tensor') return reductionValue(work, node, model)
  if (kind === 'models' && args.length === 1) return overModels(work, node)
  const operands = args.map((arg) => expand(work, arg, model))
  if (name === 'clamp') {
    const low = apply(work, 'max', [operands[0]!, operands[1]!], { start: first!.at.start, end: second!.at.end })
    return apply(work, 'min', [low, operands[2]!], { start: at.start, end: third!.at.end })
  }
  return apply(work, name as Apply, operands, at)
}

/** What is inside never depends on the model around it: names without index mean the function's own models. */
function overModels(work: Work, { name, args, at }: Node & { kind: 'call' }): number {
  const each = Array.from({ length: work.models }, (_, model) => model)
  if (name === 'median') {
    const all = each.map((model) => expand(work, args[0]!, model))
    return all.length === 1 ? all[0]! : apply(work, 'median', all, at)
  }
  const operation = name === 'min' || name === 'max' ? name : 'add'
  const total = each
    .slice(1)
    .reduce((sum, model) => apply(work, operation, [sum, expand(work, args[0]!, model)], at), expand(work, args[0]!, 0))
  return name === 'mean' ? apply(work, 'divide', [total, constant(work, work.models, at)], at) : total
}

/** By comparison: the operation, and whether its operands are exchanged. */
const CONDITIONS: Readonly<Record<Comparison, readonly [Condition, boolean]>> = {
  '>': ['whereGreater', false],
  '<': ['whereGreater', true],
  '>=': ['whereAtLeast', false],
  '<=': ['whereAtLeast', true],
  '==': ['whereEqual', false],
  '!=': ['whereOther', false],
}

function whereValue(work: Work, { args, at }: Node & { kind: 'call' }, model: number): number {
  const [condition, yes, no] = args as [Node, Node, Node]
  if (condition.kind !== 'compare') throw new Error('internal: where without a comparison')
  const [a, b] = [expand(work, condition.left, model), expand(work, condition.right, model)]
  const [operation, exchanged] = CONDITIONS[condition.sign]
  const sides = exchanged ? [b, a] : [a, b]
  const [left, right] = sides.map((side) => constantOf(work, side))
  // Where the comparison is known, only the chosen part is looked at: the other may be a division by 0.
  if (left !== undefined && right !== undefined)
    return expand(work, exactly(operation, [left, right, 1, 0]) === 1 ? yes : no, model)
  const [chosen, other] = [expand(work, yes, model), expand(work, no, model)]
  const ranked = rankedBy(work, condition.sign, a, b)
  if (ranked) {
    const results = ranked.below ? [other, chosen] : [chosen, other]
    return value(work, { kind: 'ranked', reduction: ranked.reduction, args: [ranked.of, ...results] }, at)
  }
  return apply(work, operation, [sides[0]!, sides[1]!, chosen, other], at)
}

/**
 * `e >= tensor_quantile(e, q)` and its opposite `<` look at places in the order, not at numbers: of equal elements those
 * with the lower index come first, so that exactly k elements are at or above the quantile.
 */
function rankedBy(
  { values, reductions }: Work,
  sign: Comparison,
  a: number,
  b: number,
): { readonly reduction: number; readonly of: number; readonly below: boolean } | undefined {
  const quantile = sign === '>=' || sign === '<' ? b : sign === '<=' || sign === '>' ? a : -1
  const of = quantile === b ? a : b
  const measured = values[quantile]
  if (measured?.kind !== 'measured') return undefined
  const reduction = reductions[measured.reduction]!
  const own = reduction.name === 'tensor_quantile' && reduction.of === of
  return own ? { reduction: measured.reduction, of, below: sign === '<' || sign === '>' } : undefined
}

function reductionValue(work: Work, { name, args, at }: Node & { kind: 'call' }, model: number): number {
  const { facts, reductions, numbers } = work
  const of = expand(work, args[0]!, model)
  const share = args[1] && shareOf(work, args[1], model)
  const key = `${name} ${of} ${share ?? ''}`
  const known = numbers.get(key)
  if (known !== undefined) return value(work, { kind: 'measured', reduction: known }, at)
  const { level } = facts[of]!
  if (reductions.length >= MOST_REDUCTIONS)
    stop(`a formula can have at most ${MOST_REDUCTIONS} functions of whole tensors`, at, 'shorten it')
  if (level >= MOST_LEVELS)
    stop(`functions of whole tensors can be nested at most ${MOST_LEVELS} levels deep`, at, 'use fewer levels')
  const reduction =
    reductions.push({ name: name as ReductionName, of, level, ...(share === undefined ? {} : { share }) }) - 1
  numbers.set(key, reduction)
  return value(work, { kind: 'measured', reduction }, at)
}

/**
 * The share of elements from a quantile q on: 1 − q without its rounding error. Written as `1 - d` it is d itself; else it is the
 * number of at most 15 digits whose complement is q, if there is one.
 */
function shareOf(work: Work, node: Node, model: number): number {
  const { at } = node
  const complement =
    node.kind === 'arithmetic' && node.sign === '-' && node.left.kind === 'number' && node.left.value === 1
  const id = expand(work, complement ? node.right : node, model)
  const near = work.facts[id]!.near ?? 0
  if (!(near >= 0 && near <= 1)) stop(QUANTILE_RANGE, at, '0 is the smallest element, 1 the largest')
  if (complement) return id
  const q = constantOf(work, id)
  if (q === undefined) return apply(work, 'subtract', [constant(work, 1, at), id], at)
  const short = Number((1 - q).toPrecision(15))
  return constant(work, 1 - short === q ? short : 1 - q, at)
}
