import { elements } from '../core/dtypes.js'
import { aligned } from '../core/webassembly.js'
import { type Fill, type HeldLayout, type HeldWork, heldLayout } from '../kernels/held/index.js'
import type { Compute } from '../kernels/types.js'
import { passesBy } from '../methods/registry.js'
import type { Passes, TensorSettings } from '../methods/types.js'
import { storedBytes } from '../views/ranges.js'
import { isPlain, storedOf } from '../views/stored.js'
import type { StoredView } from '../views/types.js'
import type { Expr, LoraExpr, LowRank, MergeExpr, PlanFactoring, PlanScope, ReadExpr } from './types.js'
import { changeInputs, factorReads, inputsOf, partsOf } from './walk.js'

/**
 * The compute type of one tensor. It is that of the recipe, but float64 if any input is stored as F64, because
 * float32 has neither its precision nor its range, and for a merge that must be precise.
 */
export const computeOf = (compute: 'float32' | 'float64', ...exprs: readonly Expr[]): Compute =>
  compute === 'float64' || exprs.some(readsDoubles) ? 'f64' : 'f32'

/** A cache of nested expressions. They never change, and many users share one. */
const doubles = new WeakMap<Expr, boolean>()

function readsDoubles(expr: Expr): boolean {
  if (expr.kind === 'read') return isDouble(expr)
  if (expr.kind === 'merge' && expr.precise) return true
  const inputs = inputsOf(expr)
  // Cores are computed in float64.
  if (expr.kind !== 'core' && inputs.every(({ kind }) => kind === 'read')) return inputs.some(readsDoubles)
  const known = doubles.get(expr)
  if (known !== undefined) return known
  const found = expr.kind === 'core' || inputs.some(readsDoubles)
  doubles.set(expr, found)
  return found
}

const isDouble = ({ view }: ReadExpr): boolean =>
  view.kind === 'stored' ? view.dtype === 'F64' : storedOf(view).some(({ dtype }) => dtype === 'F64')

/** All views that an expression reads, without duplicates. */
export const leavesOf = (expr: Expr): ReadExpr[] =>
  partsOf([expr]).filter((part): part is ReadExpr => part.kind === 'read')

/**
 * The views whose bytes are hashed while they are read: those that are read in storage order, without adapter
 * factors.
 */
export const digestedOf = (expr: Expr): StoredView[] =>
  partsOf([expr], (part) => (part.kind === 'lora' ? (part.base ? [part.base] : []) : inputsOf(part)))
    .filter((part): part is ReadExpr => part.kind === 'read')
    .map(({ view }) => view)
    .filter(isPlain)

/** An equal expression without needless merges: the input of a passthrough without a scale. */
export function plainOf(expr: Expr): Expr {
  if (expr.kind !== 'merge' || expr.method !== 'passthrough' || expr.shape) return expr
  const { scale = 1 } = expr.parameters
  return [scale].flat().every((factor) => factor === 1) ? plainOf(expr.inputs[0]!) : expr
}

/** The shape of an expression's result, as a part of a tensor of shape `whole`. */
export const shapeOf = (expr: Expr, whole: readonly number[]): readonly number[] =>
  expr.kind === 'read' ? whole : (expr.shape ?? whole)

/** The columns of an update: elements that share a row of the left factor. */
export const columnsOf = ({ shape, left, matrices }: LoraExpr): number =>
  elements(shape.slice(matrices === undefined ? (left ? 1 : 0) : 2))

/** A merge inside an expression, and the shape of its result. */
export interface PlacedMerge {
  readonly merge: MergeExpr
  readonly shape: readonly number[]
}

/**
 * The merges inside an expression, without duplicates and inner ones first: the order in which their sums can be
 * computed.
 */
export function mergesOf(expr: Expr, whole: readonly number[]): PlacedMerge[] {
  const found: PlacedMerge[] = []
  const seen = new Set<Expr>()
  const visit = (of: Expr, whole: readonly number[]): void => {
    // Tensors that are computed whole exist before the passes of this tensor begin.
    if ((of.kind !== 'merge' && of.kind !== 'crop') || seen.has(of)) return
    seen.add(of)
    const shape = shapeOf(of, whole)
    for (const input of inputsOf(of)) visit(input, shape)
    if (of.kind === 'merge') found.push({ merge: of, shape })
  }
  visit(expr, whole)
  return found
}

/** What a merge's method gets to know about the tensor. */
export const settingsOf = (
  { models, weights, parameters, base, inputs, statistics = [] }: MergeExpr,
  tensor: string,
  shape: readonly number[],
  seed: number,
): TensorSettings => ({
  tensor,
  shape,
  models,
  weights,
  parameters,
  seed,
  onBase: base !== undefined,
  statistics: statistics.length > 0,
  ...([...inputs, ...(base ? [base] : [])].some(readsDoubles) ? { wide: true } : {}),
})

/** The passes of a merge's method over one tensor. */
export function passesOf(expr: MergeExpr, settings: TensorSettings): Passes {
  return passesBy(expr.method)(settings)
}

/**
 * The number of leaves of a tensor's program: tensors that it reads, tensors that are computed before, and results of
 * merges that hold matrices.
 */
export function leafCount(expr: Expr, tensor: string, shape: readonly number[]): number {
  const held = mergesOf(expr, shape).filter(
    ({ merge, shape }) => passesOf(merge, settingsOf(merge, tensor, shape, 0)).held,
  )
  // Tensors that are computed before are read as a whole. Adapter factors have their own leaves, even if other parts
  // read them too.
  const own = partsOf([expr], inputsAbove)
  const counts = own.map((part) => {
    if (part.kind === 'lora') return (part.left ? factorReads(part.left).length : 0) + factorReads(part.right).length
    return part.kind === 'merge' || part.kind === 'crop' ? 0 : 1
  })
  return counts.reduce((sum, count) => sum + count, held.length)
}

/** The longest row that a tensor's program needs as a whole, in elements. 0 if it needs none. */
export function rowReach(expr: Expr, tensor: string, whole: readonly number[]): number {
  return mergesOf(expr, whole).reduce((most, { merge, shape }) => {
    const { map, reduces, scope, held } = passesOf(merge, settingsOf(merge, tensor, shape, 0))
    const passes = held ? [] : [map, ...reduces, ...(scope?.reduces ?? [])]
    const byRows = passes.some((pass) => pass.rows || ('combine' in pass && pass.combine === 'rows'))
    return byRows ? Math.max(most, shape.at(-1) ?? 1) : most
  }, 0)
}

/** Bytes read for one tensor: once for the output, and once more for each earlier pass over a merge's inputs. */
export function bytesRead(expr: Expr, tensor: string, whole: readonly number[], compute: Compute): number {
  const merges = mergesOf(expr, whole)
  // The number of passes does not depend on the seed. Passes that turn out to be unnecessary are counted too.
  const passes = new Map<Expr, Passes>(
    merges.map(({ merge, shape }) => [merge, passesOf(merge, settingsOf(merge, tensor, shape, 0))]),
  )
  /**
   * After a merge with held matrices, only the base is read again. The factoring has already read the inputs of a
   * factor.
   */
  const below = (of: Expr): readonly Expr[] => {
    if (of.kind === 'factor' || of.kind === 'core') return []
    if (of.kind !== 'merge' || !passes.get(of)?.held) return inputsOf(of)
    return of.base ? [of.base] : []
  }
  /** Each tensor is read once per pass, even if it is used several times. */
  const sum = (all: readonly (Expr | undefined)[]): number =>
    partsOf(
      all.filter((of) => of !== undefined),
      below,
    ).reduce((total, of) => total + (of.kind === 'read' ? storedBytes(of.view) : 0), 0)
  const before = ({ merge }: PlacedMerge): number => {
    const { held, reduces } = passes.get(merge)!
    if (!held) {
      const times = reduces.filter((pass) => !pass.tile).length
      return times === 0 ? 0 : times * sum(inputsOf(merge))
    }
    const read = ({ terms, onBase }: Fill) => [
      ...terms.map(({ input }) => [...merge.inputs, ...(merge.statistics ?? [])][input]),
      onBase ? merge.base : undefined,
    ]
    return fillsOf(heldLayout({ ...held, compute })).reduce((total, fill) => total + sum(read(fill)), 0)
  }
  // Factors are read once, when the cores are made.
  const factors = sum(changesIn(expr).flatMap((changes) => changeInputs(changes).map(({ part }) => part)))
  return merges.reduce((total, merge) => total + before(merge), sum([expr]) + factors)
}

/** The low-rank changes whose cores an expression uses, without duplicates. */
const changesIn = (expr: Expr): LowRank[] => [
  ...new Set(partsOf([expr], inputsAbove).flatMap((part) => (part.kind === 'core' ? [part.of] : []))),
]

/** The inputs of a part, without those that are computed before its tensor. */
const inputsAbove = (part: Expr): readonly Expr[] =>
  part.kind === 'computed' || part.kind === 'factor' ? [] : inputsOf(part)

/** The work that makes the cores of low-rank changes. */
export const coreWork = ({ rows, columns, parts }: LowRank): HeldWork => ({
  kernel: 'core',
  rows,
  columns,
  compute: 'f64',
  weights: parts.map(({ scale }) => scale),
  scale: 1,
  options: { ranks: parts.map(({ rank }) => rank) },
})

/** Bytes that the passes of a scope read. */
export const scopeBytes = ({ tensors }: PlanScope): number =>
  tensors.reduce((total, { expr, name, shape }) => {
    const passes = passesOf(expr, settingsOf(expr, name, shape, 0)).scope?.reduces.length ?? 0
    return total + passes * leavesOf(expr).reduce((sum, { view }) => sum + storedBytes(view), 0)
  }, 0)

const fillsOf = ({ steps }: HeldLayout): Fill[] => steps.flatMap((step) => (step.kind === 'fill' ? [step] : []))

/** What the work of a factoring is filled with, in the order of its inputs. */
export function factoringInputs({
  from,
  base,
  changes,
  shape,
}: PlanFactoring): { part: Expr; shape: readonly number[] }[] {
  const made = [from, base].flatMap((part) => (part ? [{ part, shape }] : []))
  return made.length > 0 || !changes ? made : changeInputs(changes)
}

/** Bytes that a factoring reads: panels of the tensors, each as often as it is filled. */
export function factoringBytes(factoring: PlanFactoring): number {
  const { work, tensor, shape, changes } = factoring
  const inputs = factoringInputs(factoring)
  const fills = fillsOf(heldLayout(work)).reduce((sum, fill) => sum + fill.elements / elements(shape), 0)
  const times = changes ? 1 : fills
  return Math.round(times * inputs.reduce((sum, of) => sum + bytesRead(of.part, tensor, of.shape, work.compute), 0))
}

/** The names of extractions and of merged adapters in the costs of a plan. */
export const EXTRACT = 'extract'
const ADAPTERS = 'the merge of adapters'

/** Memory and work of a factoring: its own matrices, and those of merges of its inputs that hold matrices. */
export function factoringCost(factoring: PlanFactoring): HeldCost {
  const { work, tensor, changes } = factoring
  const { compute } = work
  const { bytes, operations } = heldLayout(work)
  // The factors are copied before others take their place.
  const copies = Number(work.options.rank) * (work.rows + work.columns) * (compute === 'f64' ? 8 : 4)
  const own: HeldCost = {
    bytes: aligned(bytes) + copies,
    operations,
    methods: [changes ? ADAPTERS : EXTRACT],
  }
  return factoringInputs(factoring).reduce((sum, { part, shape }) => {
    const cost = heldCost(part, tensor, shape, compute)
    return cost
      ? {
          bytes: sum.bytes + cost.bytes,
          operations: sum.operations + cost.operations,
          methods: [...sum.methods, ...cost.methods],
        }
      : sum
  }, own)
}

/** What an expression holds whole while its tensor is made. */
export interface HeldCost {
  readonly bytes: number
  /** Multiplications and additions, approximately. */
  readonly operations: number
  readonly methods: readonly string[]
}

/** Operations per second and thread: what a core of 2023 reaches on matrices of some thousand rows, rounded down. */
const OPERATIONS_A_SECOND = 5e9

/** The approximate duration of this many operations, in seconds. */
export const heldSeconds = (operations: number, threads: number): number => operations / (OPERATIONS_A_SECOND * threads)

/** Undefined if nothing is held. */
export function heldCost(expr: Expr, tensor: string, whole: readonly number[], compute: Compute): HeldCost | undefined {
  let [bytes, operations] = [0, 0]
  const methods: string[] = []
  for (const { merge, shape } of mergesOf(expr, whole)) {
    const { held } = passesOf(merge, settingsOf(merge, tensor, shape, 0))
    if (!held) continue
    const layout = heldLayout({ ...held, compute })
    bytes += aligned(layout.bytes)
    operations += layout.operations
    methods.push(merge.method)
  }
  const cores = changesIn(expr)
  for (const changes of cores) {
    const layout = heldLayout(coreWork(changes))
    bytes += aligned(layout.bytes)
    operations += layout.operations
  }
  return methods.length > 0 || cores.length > 0 ? { bytes, operations, methods } : undefined
}
