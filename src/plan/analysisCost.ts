import { computeOf, heldCost } from '../expr/cost.js'
import type { AnalysisModel, AnalysisTensor, Expr } from '../expr/types.js'
import { inputsOf, partsOf } from '../expr/walk.js'
import { polarBytes } from '../kernels/dense/polar.js'
import { assignBytes, LARGEST_SQUARE } from '../kernels/linalg.js'
import { gramLength } from '../rebasin/gram.js'
import { largestSquare, matricesLength } from '../rebasin/match.js'
import { orthogonalSizes } from '../rebasin/orthogonal.js'
import { readSpec, type Spec } from '../rebasin/spec.js'
import { rowLength } from '../rebasin/weights.js'
import type { Analysis } from '../steps/index.js'
import type { RebasinAnalysis } from '../steps/rebasin/types.js'
import type { AnalysisCost, Plan } from './types.js'

const elementsOf = ({ shape }: { readonly shape: readonly number[] }): number => shape.reduce((all, n) => all * n, 1)
const most = (numbers: readonly number[]): number => numbers.reduce((top, n) => Math.max(top, n), 0)
const sum = (numbers: readonly number[]): number => numbers.reduce((total, n) => total + n, 0)

/** Rows that a product goes by at the least. */
const ROWS = 256
/** Parts below this would only make more messages. */
const LEAST_PART = 8 * 2 ** 20

/** A tensor that a step makes is held whole while it is looked at. */
const isWhole = ({ expr }: AnalysisTensor): boolean => expr.kind !== 'read' || expr.rows !== undefined

/** Bytes of a model's tensors that must be there at once: parts of what is stored, whole what is made. */
export function modelBytes({ tensors }: AnalysisModel): { whole: number; part: number } {
  return {
    whole: 4 * most(tensors.filter(isWhole).map(elementsOf)),
    part: Math.max(LEAST_PART, 8 * ROWS * most(tensors.map(({ shape }) => rowLength(shape)))),
  }
}

/** How many parts of a model are under way at once: one that is worked on, and one that is read. */
export const PARTS = 2

/** Every tensor that an analysis reads. */
export const tensorsOf = (analysis: Analysis): readonly AnalysisTensor[] =>
  analysis.kind === 'repair'
    ? analysis.norms.flatMap(({ variances, filters }) => [...variances, ...filters])
    : [analysis.onto, ...analysis.models].flatMap(({ tensors }) => tensors)

/** What an analysis takes where the recipe asks for this arithmetic. */
export function analysisCost(analysis: Analysis, compute: Plan['compute']): AnalysisCost {
  const { bytes, ...cost } = ownCost(analysis)
  // Merges that hold matrices do so in memory of the analysis' own, one tensor at a time.
  const held = tensorsOf(analysis).map(
    ({ name, shape, expr }) => heldCost(expr, name, shape, computeOf(compute, expr))?.bytes ?? 0,
  )
  const computed = tensorsOf(analysis).map(({ expr }) => computedBytes(expr))
  return { ...cost, bytes: bytes + most(held) + most(computed) }
}

/** Bytes while what an earlier alignment computes below an expression is made: read, mapped, and in the pool's hands. */
function computedBytes(expr: Expr): number {
  const known = new Map<Expr, number>()
  for (const part of partsOf([expr])) {
    const below = most(inputsOf(part).map((input) => known.get(input)!))
    known.set(part, part.kind === 'computed' ? below + 4 * 4 * elementsOf(part) : below)
  }
  return known.get(expr)!
}

function ownCost(analysis: Analysis): AnalysisCost {
  if (analysis.kind === 'repair') {
    const bytes = analysis.norms.map(({ variances, filters }) => sum([...variances, ...filters].map(elementsOf)) * 4)
    return { steps: [analysis.step], bytes: most(bytes), multiplications: sum(bytes) / 4 }
  }
  const { steps, onto, models, spec, symmetry } = analysis
  const parts = sum(
    [onto, largestModel(models)].map((model) => modelBytes(model).whole + PARTS * modelBytes(model).part),
  )
  if (symmetry === 'orthogonal') {
    const { bytes, multiplications } = orthogonalCost(onto)
    return { steps, bytes: parts + bytes, multiplications: models.length * multiplications }
  }
  const read = readSpec(spec, new Map(onto.tensors.map((tensor) => [tensor.name, tensor])))
  return {
    steps,
    bytes: parts + 4 * matricesLength(read) + assignBytes(largestSquare(read)) + jointBytes(analysis, read),
    multiplications: models.length * sweepWork(read, onto),
  }
}

/** The model that takes the most. */
const largestModel = (models: readonly AnalysisModel[]): AnalysisModel =>
  models.reduce((top, model) => {
    const bytes = (of: AnalysisModel) => modelBytes(of).whole + modelBytes(of).part
    return bytes(model) > bytes(top) ? model : top
  })

/** A sum of models has float64 numbers while it is made; c2m3 holds all models, as they are mixed. */
function jointBytes({ method, onto, models }: RebasinAnalysis, spec: Spec): number {
  if (method === 'weight-matching') return 0
  const all = sum(onto.tensors.map(elementsOf))
  const largest = most(onto.tensors.map(elementsOf))
  const states = sum(Object.keys(spec.groups).map((group) => gramLength(spec, group)))
  const count = models.length + 1
  return 20 * largest + (method === 'c2m3' ? count * (5 * 4 * all + 3 * 8 * states) : 0)
}

/** Multiplications of one sweep of matching: of each axis that moves, its length by the tensor's elements. */
const sweepWork = (spec: Spec, { tensors }: AnalysisModel): number => {
  const shapes = new Map(tensors.map((tensor) => [tensor.name, tensor]))
  return sum(spec.parts.map(({ tensor, length }) => elementsOf(shapes.get(tensor)!) * length))
}

function orthogonalCost({ tensors, config }: AnalysisModel): Omit<AnalysisCost, 'steps'> {
  const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]))
  const { hidden, units, matrices, squares } = orthogonalSizes({ tensors: byName, ...(config ? { config } : {}) })
  const square = hidden * hidden
  return {
    bytes:
      4 * units * units +
      assignBytes(units) +
      4 * sum(squares.map((side) => side * side)) +
      // Two models' folded, turned, and mapped; later any tensor of the aligned model, one at a time.
      4 * Math.max(4 * most(matrices.map(({ side }) => side * hidden)), most(tensors.map(elementsOf))) +
      (3 * 4 + 3 * 8) * square +
      polarBytes(hidden),
    // Turned, compared and added up; about six steps of a polar factor.
    multiplications: sum(matrices.map(({ side }) => side * square * 2 + side * side * hidden)) + 20 * square * hidden,
  }
}

/** The group whose similarities need more than addresses of 32 bits reach, if there is one. */
export function tooLarge(analysis: Analysis): number | undefined {
  if (analysis.kind === 'repair') return undefined
  const { onto, spec, symmetry } = analysis
  const shapes = new Map(onto.tensors.map((tensor) => [tensor.name, tensor]))
  const side =
    symmetry === 'orthogonal'
      ? orthogonalSizes({ tensors: shapes, ...(onto.config ? { config: onto.config } : {}) }).units
      : largestSquare(readSpec(spec, shapes))
  return side > LARGEST_SQUARE ? side : undefined
}
