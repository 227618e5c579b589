/**
 * Checks names and types of a formula, without models: every error with its place. A value is a number or true/false;
 * a number is known before the elements of a tensor, or has a value for each element.
 */
import { didYouMean, nearest, quote } from '../../core/suggest.js'
import { plural } from '../../core/words.js'
import { formulaFault } from './faults.js'
import { FUNCTIONS, type FunctionRule, functionOf, MODEL_NAMES, VARIABLES } from './functions.js'
import type { At, FormulaFault, Node, OwnNames, Uses } from './types.js'

/** What the checker knows about the merge. */
export interface Given {
  readonly own: OwnNames
  /** The number of merged models. Undefined if it is not known yet. */
  readonly models: number | undefined
}

export interface Checked {
  readonly faults: readonly FormulaFault[]
  readonly uses: Uses
}

/** What is known of a value. `element`: it differs between elements. `measured`: it needs the elements of a tensor. */
interface Kind {
  readonly type: 'number' | 'boolean'
  readonly element: boolean
  readonly measured: boolean
  /** An error was reported inside, so that others would only follow from it. */
  readonly broken?: true
}

const NUMBER: Kind = { type: 'number', element: false, measured: false }
const ELEMENT: Kind = { type: 'number', element: true, measured: false }
const BROKEN: Kind = { ...NUMBER, broken: true }

/** More errors help nobody. */
const MOST_FAULTS = 20

interface Context extends Given {
  readonly faults: FormulaFault[]
  readonly uses: { -readonly [K in keyof Uses]: Uses[K] } & { names: Set<string> }
}

/** Names and types of a parsed formula. */
export function checkFormula(root: Node, given: Given): Checked {
  const uses = { base: false, weights: false, layer: false, indexes: false, names: new Set<string>() }
  const context: Context = { ...given, faults: [], uses }
  const result = check(context, root, false)
  if (!result.broken) {
    if (result.type === 'boolean')
      fault(context, root.at, 'the formula gives true or false, not a number', 'write where(a < b, c, d)')
    else if (!result.element)
      fault(context, root.at, 'the formula uses no tensor', 'use x, delta or base, such as in "mean(x)"')
  }
  return { faults: context.faults, uses }
}

function fault({ faults }: Context, at: At, message: string, hint?: string): Kind {
  if (faults.length < MOST_FAULTS) faults.push(formulaFault(message, at, hint))
  return BROKEN
}

/** `inModels`: inside a function that runs over models. */
function check(context: Context, node: Node, inModels: boolean): Kind {
  switch (node.kind) {
    case 'number':
      return NUMBER
    case 'name':
      return checkName(context, node, inModels)
    case 'negate':
      return numbers(context, [node.of], inModels)
    case 'arithmetic':
      return numbers(context, [node.left, node.right], inModels)
    case 'compare': {
      const kind = numbers(context, [node.left, node.right], inModels)
      return kind.broken ? kind : { ...kind, type: 'boolean' }
    }
    case 'call':
      return checkCall(context, node, inModels)
  }
}

/** Operands that must be numbers. */
function numbers(context: Context, nodes: readonly Node[], inModels: boolean): Kind {
  const kinds = nodes.map((node) => {
    const kind = check(context, node, inModels)
    if (kind.broken || kind.type === 'number') return kind
    return fault(context, node.at, 'a comparison is not a number', 'write where(a < b, c, d) to choose between numbers')
  })
  return {
    type: 'number',
    element: kinds.some(({ element }) => element),
    measured: kinds.some(({ measured }) => measured),
    ...(kinds.some(({ broken }) => broken) ? { broken: true } : {}),
  }
}

function checkName(context: Context, { name, index, at }: Node & { kind: 'name' }, inModels: boolean): Kind {
  const { own, uses, models } = context
  const mine = own.get(name)
  const perModel = MODEL_NAMES.includes(name) || mine?.perModel === true
  if (!perModel && !mine && !VARIABLES.includes(name)) return unknownName(context, name, at)
  if (mine) uses.names.add(name)
  if (name === 'w') uses.weights = true
  if (name === 'layer') uses.layer = true
  if (name === 'base' || name === 'delta') {
    uses.base = true
    uses.baseAt ??= at
  }
  if (index !== undefined) {
    if (!perModel) {
      const what = mine ? 'has one value for all models' : 'is the same for all models'
      return fault(context, at, `${quote(name)} ${what}, so it has no index`, `write ${name}`)
    }
    uses.indexes = true
    if (models !== undefined && index >= models) {
      const last =
        models === 0 ? 'no model is merged' : `the last of ${plural(models, 'merged model')} is ${name}[${models - 1}]`
      return fault(
        context,
        at,
        `${name}[${index}] does not exist: ${last}`,
        'indexes start at 0, and the base does not count',
      )
    }
  } else if (perModel && !inModels) {
    const message = `${quote(name)} has a value for each merged model`
    return fault(context, at, message, `write ${name}[0], or a function over models such as sum(${name})`)
  }
  return name === 'x' || name === 'delta' || name === 'base' ? ELEMENT : NUMBER
}

function unknownName(context: Context, name: string, at: At): Kind {
  const { own } = context
  if (functionOf(name)) return fault(context, at, `${quote(name)} is a function`, `write ${functionOf(name)!.form}`)
  const known = [...VARIABLES, ...own.keys()]
  const [close] = nearest(name, [...known, ...FUNCTIONS.map((one) => one.name)], 1)
  const hint =
    close === undefined
      ? `${didYouMean(name, known, 'names')}; others can be parameters`
      : `did you mean ${quote(close)}?`
  return fault(context, at, `the formula uses an unknown name ${quote(name)}`, hint)
}

/** `1 argument`, `1 or 2 arguments`. */
const argumentCount = (counts: readonly number[]): string =>
  counts.length > 1 ? `${counts.join(' or ')} arguments` : plural(counts[0]!, 'argument')

function checkCall(context: Context, node: Node & { kind: 'call' }, inModels: boolean): Kind {
  const { name, args, named } = node
  const rule = functionOf(name)
  if (!rule) {
    const names = FUNCTIONS.map((one) => one.name)
    return fault(context, named, `there is no function ${quote(name)}`, didYouMean(name, names, 'functions'))
  }
  if (!rule.args.includes(args.length)) {
    const message = `${name} takes ${argumentCount(rule.args)}, not ${args.length}`
    const hint = rule.kind === 'models' && args.length > 2 ? `nest it: ${name}(a, ${name}(b, c))` : `write ${rule.form}`
    return fault(context, named, message, hint)
  }
  if (rule.kind === 'where') return checkWhere(context, node, inModels)
  if (rule.kind === 'models') return numbers(context, args, inModels || args.length === 1)
  return rule.kind === 'tensor' ? checkTensor(context, rule, node, inModels) : numbers(context, args, inModels)
}

function checkWhere(context: Context, { args }: Node & { kind: 'call' }, inModels: boolean): Kind {
  const condition = check(context, args[0]!, inModels)
  if (!condition.broken && condition.type === 'number')
    fault(context, args[0]!.at, 'the first argument of where must be a comparison', 'write where(a < b, c, d)')
  const chosen = numbers(context, args.slice(1), inModels)
  const broken = condition.broken || condition.type === 'number' || chosen.broken
  return {
    type: 'number',
    element: condition.element || chosen.element,
    measured: condition.measured || chosen.measured,
    ...(broken ? { broken: true } : {}),
  }
}

function checkTensor(
  context: Context,
  { name }: FunctionRule,
  { args }: Node & { kind: 'call' },
  inModels: boolean,
): Kind {
  const [of, quantile] = args
  const kind = numbers(context, [of!], inModels)
  const q = quantile && numbers(context, [quantile], inModels)
  if (kind.broken || q?.broken) return BROKEN
  if (!kind.element)
    return fault(
      context,
      of!.at,
      `${name} looks at all elements of a tensor, but this is one number`,
      'use x, delta or base in it',
    )
  if (q && (q.element || q.measured))
    return fault(
      context,
      quantile!.at,
      'the second argument of tensor_quantile must be known before any tensor is read',
      'use numbers, parameters, w and layer in it',
    )
  if (quantile?.kind === 'number' && quantile.value > 1) return outsideQuantile(context, quantile.at)
  if (quantile?.kind === 'negate' && quantile.of.kind === 'number' && quantile.of.value > 0)
    return outsideQuantile(context, quantile.at)
  return { ...NUMBER, measured: true }
}

const outsideQuantile = (context: Context, at: At): Kind =>
  fault(context, at, QUANTILE_RANGE, '0 is the smallest element, 1 the largest')

/** For values that are only known with the parameters, too. */
export const QUANTILE_RANGE = 'the second argument of tensor_quantile must be from 0 to 1'
