/** Tensors that are made alike. Large plans have few kinds of tensors, and what one of a kind costs is computed once. */
import type { Expr, ReadExpr } from './types.js'

/** A tensor of an output or of an analysis. */
export interface Made {
  readonly shape: readonly number[]
  readonly expr: Expr
}

/** What a merge of tensors that are read as they are stored may have. A merge with anything else is a kind of its own. */
const COMMON: ReadonlySet<string> = new Set([
  ...['kind', 'step', 'method', 'models', 'weights', 'parameters', 'inputs', 'base', 'rounded'],
])

/**
 * The tensors in groups, in the order of the first of each. Tensors of a group differ only in their names and in where their inputs are
 * stored. Settings are compared as objects, which plans share.
 */
export function alike<T extends Made>(tensors: readonly T[]): T[][] {
  const numbers = new Map<unknown, number>()
  const numberOf = (value: unknown): number => {
    const number = numbers.get(value) ?? numbers.size
    numbers.set(value, number)
    return number
  }
  const shapes = new Map<readonly number[], number>()
  const shapeOf = (shape: readonly number[]): number => {
    const number = shapes.get(shape) ?? numberOf(shape.join())
    shapes.set(shape, number)
    return number
  }
  const inputKey = (input: Expr): string | undefined => {
    if (!isStored(input)) return undefined
    const { dtype, shape, bytes } = input.view
    return `${dtype} ${shapeOf(shape)} ${bytes} `
  }
  const keyOf = ({ expr, shape }: T): string | undefined => {
    if (expr.kind === 'read') {
      const own = inputKey(expr)
      return own && `${own}${shapeOf(shape)}`
    }
    if (expr.kind !== 'merge') return undefined
    for (const name in expr) if (!COMMON.has(name)) return undefined
    const { step, method, models, weights, parameters, rounded, inputs, base } = expr
    let key = `${step} ${method} ${numberOf(models)} ${numberOf(weights)} ${numberOf(parameters)} ${rounded} ${shapeOf(shape)} `
    for (const [index, input] of inputs.entries()) {
      const own = inputKey(input)
      // An input that is there twice counts once.
      if (own === undefined || inputs.indexOf(input) !== index) return undefined
      key += own
    }
    if (!base) return key
    const own = inputKey(base)
    return own === undefined || inputs.includes(base) ? undefined : `${key}on ${own}`
  }
  const groups: T[][] = []
  const known = new Map<string, T[]>()
  for (const tensor of tensors) {
    const key = keyOf(tensor)
    const group = key === undefined ? undefined : known.get(key)
    if (group) group.push(tensor)
    else {
      const made = [tensor]
      groups.push(made)
      if (key !== undefined) known.set(key, made)
    }
  }
  return groups
}

type StoredRead = ReadExpr & { readonly view: Extract<ReadExpr['view'], { readonly kind: 'stored' }> }

const isStored = (expr: Expr): expr is StoredRead =>
  expr.kind === 'read' && expr.view.kind === 'stored' && expr.view.strides === undefined
