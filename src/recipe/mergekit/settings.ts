/**
 * Parameters in mergekit's form: numbers, gradients, and lists of either, selected by a substring of the tensor's
 * name.
 */
import { ownValue } from '../../core/collections/ownValue.js'
import { childOf, type MapNode, makeList, makeScalar, type Node, type ScalarNode } from '../../language/tree.js'
import type { Complaints } from './complaints.js'
import type { Parameter } from './merges/methods.js'

/** Whether a filter matches a tensor. */
export type Matches = (filter: string) => boolean

/** A value with its place: a single value or a gradient. Two values are equal if their JSON is equal. */
export interface Atom {
  readonly node: Node
  readonly json: string
}

const WORDS: Readonly<Record<string, boolean>> = {
  true: true,
  yes: true,
  on: true,
  false: false,
  no: false,
  off: false,
}

const DECIMAL = /^\s*[+-]?(\d(_?\d)*\.?(\d(_?\d)*)?|\.\d(_?\d)*)(e[+-]?\d+)?\s*$/i

const isCondition = (node: Node): node is MapNode => node.kind === 'map'

/** An entry of a conditional list. An undefined filter matches every tensor. */
const conditionOf = (node: MapNode): { filter: string | undefined; value: Node | undefined } => {
  const filter = childOf(node, 'filter')
  const text = filter?.kind === 'scalar' && filter.value !== null ? filter.source : undefined
  // Every name contains the empty string.
  return { filter: text === '*' || text === '' ? undefined : text, value: childOf(node, 'value') }
}

/** Reports values that no parameter can have. Error: `bad-parameter`. */
export function checkSetting(node: Node, complain: Complaints): void {
  const form = 'a number, a list of numbers, or a list of {filter, value}'
  if (node.kind === 'scalar') {
    if (node.value === null) complain.error('bad-parameter', 'this parameter has no value', node.span, `write ${form}`)
    return
  }
  const items = node.kind === 'list' ? node.items : [node]
  const conditions = items.filter(isCondition)
  const mixed = conditions.length > 0 && conditions.length < items.length
  if (items.length === 0 || mixed || items.some((item) => item.kind === 'list')) {
    complain.error('bad-parameter', `a parameter is ${form}`, node.span)
    return
  }
  for (const item of conditions) {
    const { value } = conditionOf(item)
    if (
      !value ||
      value.kind === 'map' ||
      (value.kind === 'list' && value.items.some((inner) => inner.kind !== 'scalar'))
    )
      complain.error(
        'bad-parameter',
        "an entry of a conditional list needs a 'value'",
        item.span,
        'write {filter: mlp, value: 0.5}',
      )
    for (const [key, { key: at }] of item.entries)
      if (key !== 'value' && key !== 'filter')
        complain.ignored(
          'ignored-key',
          `mergekit has no key '${key}' here and ignores it`,
          at,
          "valid here: 'filter', 'value'",
        )
  }
}

/** All filters of a setting with their places, in order. */
export function filtersOf(node: Node): { filter: string; node: Node }[] {
  const items = node.kind === 'list' ? node.items : [node]
  return items.filter(isCondition).flatMap((item) => {
    const { filter } = conditionOf(item)
    return filter === undefined ? [] : [{ filter, node: childOf(item, 'filter')! }]
  })
}

/** The value of the first filter that matches the tensor. Undefined if none matches. */
export function evaluate(node: Node, matches: Matches): Node | undefined {
  if (node.kind === 'scalar' || (node.kind === 'list' && !node.items.some(isCondition))) return node
  const items = node.kind === 'list' ? node.items : [node]
  for (const item of items.filter(isCondition)) {
    const { filter, value } = conditionOf(item)
    if (filter === undefined || matches(filter)) return value
  }
  return undefined
}

/** The value in the type of the parameter, converted as mergekit does it. Undefined after an error. */
export function atomOf(node: Node, { name, type, most }: Parameter, complain: Complaints): Atom | undefined {
  if (type === 'boolean') {
    const value = node.kind === 'scalar' ? truth(node) : undefined
    if (value !== undefined) return { node: makeScalar(node.span, value, String(value)), json: String(value) }
    complain.error('bad-parameter', `'${name}' must be true or false`, node.span)
    return undefined
  }
  const numbers = (node.kind === 'list' ? node.items : [node]).map(numberNode)
  if (numbers.length === 0 || numbers.some((item) => item === undefined)) {
    complain.error('bad-parameter', `'${name}' must be a number or a list of numbers`, node.span)
    return undefined
  }
  const sound = (numbers as ScalarNode[]).map((item) => {
    if (most === undefined || Number(item.value) <= most) return item
    // If a gradient also has values below the maximum, clamping its entries would move the point where it reaches the
    // maximum.
    if (numbers.some((other) => Number(other?.value) < most)) return item
    complain.warn('above-most', `mergekit lowers '${name}' to ${most}, its maximum`, item.span, `write ${most}`)
    return makeScalar(item.span, most, String(most))
  })
  const result = node.kind === 'list' && sound.length > 1 ? makeList(node.span, sound) : sound[0]!
  return { node: result, json: JSON.stringify(sound.map(({ value }) => value)) }
}

function truth({ value, source }: ScalarNode): boolean | undefined {
  if (typeof value === 'boolean') return value
  if (typeof value === 'number') return value !== 0
  return ownValue(WORDS, source.toLowerCase())
}

function numberNode(node: Node): ScalarNode | undefined {
  if (node.kind !== 'scalar' || node.value === null) return undefined
  if (typeof node.value === 'boolean') return makeScalar(node.span, Number(node.value), String(Number(node.value)))
  // Python parses a string as a number only if it is decimal: '0x10' and '0o10' in quotes are not numbers.
  const text = DECIMAL.test(node.source) ? node.source.replaceAll('_', '') : 'none'
  const value = typeof node.value === 'number' ? node.value : Number(text)
  return Number.isFinite(value) ? makeScalar(node.span, value, String(value)) : undefined
}

/** For a model with one layer: the layer gets the last value of a gradient, tensors outside layers get the first. */
export function collapse(atom: Atom, inLayer: boolean): Atom {
  if (atom.node.kind !== 'list') return atom
  const node = (inLayer ? atom.node.items.at(-1) : atom.node.items[0])!
  return { node, json: JSON.stringify([(node as ScalarNode).value]) }
}
