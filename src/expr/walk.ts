/**
 * Walks expressions. They are directed acyclic graphs: a step that is used twice is one object with two users.
 * Written as a tree, a chain of steps that each use an earlier one twice doubles with each step. So nothing here
 * visits a part more than once.
 */
import { elements } from '../core/dtypes.js'
import type { Passes } from '../methods/types.js'
import type { Expr, FactorExpr, LoraFactor, LowRank, MergeExpr, ReadExpr } from './types.js'

/** What a factor reads. */
export const factorReads = ({ read, times, core }: LoraFactor): readonly ReadExpr[] => [
  read,
  ...(times ? [times] : []),
  ...(core ? [core.read] : []),
]

/** The direct inputs of an expression. */
export function inputsOf(expr: Expr): readonly Expr[] {
  switch (expr.kind) {
    case 'read':
    case 'constant':
      return []
    case 'lora':
      return [
        ...(expr.base ? [expr.base] : []),
        ...(expr.left ? factorReads(expr.left) : []),
        ...factorReads(expr.right),
      ]
    case 'merge':
      return [...expr.inputs, ...(expr.statistics ?? []), ...(expr.base ? [expr.base] : [])]
    case 'crop':
      return [expr.merge, expr.base]
    case 'computed':
    case 'factor':
      return expr.inputs
    case 'core':
      return expr.of.parts.flatMap(({ a, b }) => [a, b])
  }
}

/** The factorings that a factor is made of. */
export const factoringsOf = ({ factoring, more = [] }: FactorExpr): readonly number[] => [factoring, ...more]

/** The factors of low-rank changes, with their shapes as matrices. */
export const changeInputs = ({ rows, columns, parts }: LowRank): { part: Expr; shape: readonly number[] }[] =>
  parts.flatMap(({ a, b, rank }) => [
    { part: a, shape: [rank, columns] },
    { part: b, shape: [rows, rank] },
  ])

/** All parts of expressions without duplicates, each after its inputs. `below`: the inputs of a part to visit. */
export function partsOf(
  exprs: readonly Expr[],
  below: (expr: Expr) => readonly Expr[] = inputsOf,
  seen?: Set<Expr>,
): Expr[] {
  return (seen ? undefined : partsOfSimple(exprs, below)) ?? allParts(exprs, below, seen ?? new Set())
}

/** A merge of few tensors that are read, as most expressions of large plans are, needs no sets. */
function partsOfSimple(exprs: readonly Expr[], below: (expr: Expr) => readonly Expr[]): Expr[] | undefined {
  const [expr] = exprs
  if (!expr || exprs.length > 1) return undefined
  const inputs = below(expr)
  if (inputs.length > 8 || !inputs.every((input) => input.kind === 'read')) return undefined
  return [...inputs.filter((input, index) => inputs.indexOf(input) === index), expr]
}

function allParts(exprs: readonly Expr[], below: (expr: Expr) => readonly Expr[], seen: Set<Expr>): Expr[] {
  const found: Expr[] = []
  const visit = (expr: Expr): void => {
    if (seen.has(expr)) return
    seen.add(expr)
    for (const input of below(expr)) visit(input)
    found.push(expr)
  }
  for (const expr of exprs) visit(expr)
  return found
}

/**
 * Trees up to this number of parts are written out. No tensor had more before parts were shared, so older plans and
 * lineages keep their form.
 */
const LARGEST_TREE = 4096

/** Whether an expression that is written as a tree, with shared parts repeated, has few parts. */
export function isSmallTree(expr: Expr): boolean {
  let left = LARGEST_TREE
  const visit = (part: Expr): boolean => --left >= 0 && inputsOf(part).every(visit)
  return visit(expr)
}

/**
 * An expression as JSON: itself if it is a small tree. Otherwise its parts, in which `{"part": n}` refers to an
 * earlier one.
 */
export function jsonForm(expr: Expr): unknown {
  if (isSmallTree(expr)) return expr
  const parts = partsOf([expr])
  const numbers = new Map<unknown, number>(parts.map((part, index) => [part, index]))
  return { kind: 'shared', parts: parts.map((part) => withNumbers(part, numbers)) }
}

/** A plan, or a part of one, with all of its expressions in that form. */
export function withShared<T extends { readonly analyses: unknown; readonly scopes: unknown }>(plan: T): T {
  const visit = (value: unknown): unknown => {
    if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return value
    if (Array.isArray(value)) return value.map(visit)
    return Object.fromEntries(
      Object.entries(value).map(([key, inner]) => [key, isExpr(key, inner) ? jsonForm(inner) : visit(inner)]),
    )
  }
  // Only these have expressions. Outputs can be many, and their expressions are in one place.
  const { analyses, scopes, factorings } = plan as { analyses: unknown; scopes: unknown; factorings?: unknown }
  return {
    ...plan,
    analyses: visit(analyses),
    scopes: visit(scopes),
    ...(factorings ? { factorings: visit(factorings) } : {}),
  }
}

const EXPRESSIONS: ReadonlySet<string> = new Set(['expr', 'from', 'base'])

const isExpr = (key: string, value: unknown): value is Expr =>
  EXPRESSIONS.has(key) && typeof value === 'object' && value !== null && 'kind' in value

/** A part with numbers in place of its own parts. */
function withNumbers(part: Expr, numbers: ReadonlyMap<unknown, number>): unknown {
  const visit = (value: unknown): unknown => {
    if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return value
    const number = value === part ? undefined : numbers.get(value)
    if (number !== undefined) return { part: number }
    if (Array.isArray(value)) return value.map(visit)
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, visit(inner)]))
  }
  return visit(part)
}

/** Whether two expressions are made in the same way. `own`: the properties of a part that count, without its inputs. */
export function sameMaking(a: Expr, b: Expr, own: (part: Expr) => string): boolean {
  const classes = new Map<string, number>()
  const numbers = new Map<Expr, number>()
  for (const part of partsOf([a, b])) {
    const key = JSON.stringify([own(part), inputsOf(part).map((input) => numbers.get(input))])
    if (!classes.has(key)) classes.set(key, classes.size)
    numbers.set(part, classes.get(key)!)
  }
  return numbers.get(a) === numbers.get(b)
}

/**
 * The elements of a part that are needed at once, in addition to one tile. Below merges that work on whole rows:
 * more, by the number of such merges. Below cropped tensors: only the first rows. A part is made once for each reach.
 */
export interface Reach {
  readonly rows: number
  readonly from: number
  readonly to: number
}

export const WHOLE: Reach = { rows: 0, from: 0, to: Number.POSITIVE_INFINITY }

export const reachKey = ({ rows, from, to }: Reach): string => `${rows}:${from}:${to}`

/** The first of the two parts of a cropped tensor. It has this number of elements. */
export const cropReach = ({ rows, from, to }: Reach, first: number): readonly [Reach, Reach] => [
  { rows, from, to: Math.min(to, first) },
  { rows, from: Math.max(from, first), to },
]

/**
 * By part, the number of reaches in which it is made. `passesOf`: the passes of a merge with a result of this shape.
 */
export function placesOf(
  expr: Expr,
  whole: readonly number[],
  passesOf: (merge: MergeExpr, shape: readonly number[]) => Passes,
): ReadonlyMap<Expr, number> {
  const seen = new Map<Expr, Set<string>>()
  const visit = (of: Expr, whole: readonly number[], reach: Reach): void => {
    const reaches = seen.get(of) ?? new Set()
    seen.set(of, reaches)
    if (reaches.has(reachKey(reach))) return
    reaches.add(reachKey(reach))
    // Tensors that are computed whole exist before the tensor is made.
    if (of.kind === 'computed' || of.kind === 'factor' || of.kind === 'constant') return
    if (of.kind === 'core') {
      for (const { part, shape } of changeInputs(of.of)) visit(part, shape, WHOLE)
      return
    }
    const shape = of.kind === 'read' ? whole : (of.shape ?? whole)
    if (of.kind === 'crop') {
      const [first, rest] = cropReach(reach, elements(of.merge.shape ?? shape))
      visit(of.merge, shape, first)
      visit(of.base, shape, rest)
      return
    }
    let inner = reach
    if (of.kind === 'merge') {
      const { map, reduces, held } = passesOf(of, shape)
      if (reduces.length > 0) visit(of, whole, WHOLE)
      if (held && of.base) visit(of.base, shape, reach)
      inner = held ? WHOLE : map.rows ? { ...reach, rows: reach.rows + 1 } : reach
    }
    for (const input of inputsOf(of)) visit(input, shape, inner)
  }
  visit(expr, whole, WHOLE)
  return new Map([...seen].map(([part, { size }]) => [part, size]))
}
