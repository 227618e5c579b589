/** Memory and work of alignments. */

import { elements } from '../../core/dtypes.js'
import type { AnalysisModel, AnalysisTensor } from '../../expr/types.js'
import { polarBytes } from '../../kernels/dense/polar.js'
import { assignBytes } from '../../kernels/linalg.js'
import { gramLength } from '../../rebasin/gram.js'
import { largestSquare, matricesLength } from '../../rebasin/match.js'
import { orthogonalSizes } from '../../rebasin/orthogonal/form.js'
import type { Spec } from '../../rebasin/spec.js'
import { rowLength, type WeightsBudget } from '../../rebasin/weights.js'
import { hasOtherRows } from '../../views/stored.js'
import type { AnalysisCost } from '../analysis.js'
import { activationsSpec } from './measured/spec.js'
import { matchedSpec } from './spec/matched.js'
import type { RebasinAnalysis } from './types.js'

const elementsOf = ({ shape }: { readonly shape: readonly number[] }): number => elements(shape)
const most = (numbers: readonly number[]): number => numbers.reduce((top, n) => Math.max(top, n), 0)
const sum = (numbers: readonly number[]): number => numbers.reduce((total, n) => total + n, 0)

/** Minimum number of rows in one part of a product. */
const ROWS = 256
/** Smaller parts only cause more messages. */
const LEAST_PART = 8 * 2 ** 20
const LARGEST_PART = 64 * 2 ** 20
/** Parts of a model in progress at once: one in use and one being read. */
const PARTS = 2

/** A tensor that a step makes is in memory as a whole while it is used. */
const isWhole = ({ expr }: AnalysisTensor): boolean => expr.kind !== 'read' || hasOtherRows(expr.view)

interface ModelBytes {
  readonly whole: number
  readonly part: number
}

/** Bytes of a model's tensors in memory at once: parts of stored tensors, and whole tensors that steps make. */
function modelBytes({ tensors }: AnalysisModel): ModelBytes {
  return {
    whole: 4 * most(tensors.filter(isWhole).map(elementsOf)),
    part: Math.max(LEAST_PART, 8 * ROWS * most(tensors.map(({ shape }) => rowLength(shape)))),
  }
}

/** Weights and activations are read one after the other. */
const largerOf = (one: ModelBytes, other: ModelBytes | undefined): ModelBytes => ({
  whole: Math.max(one.whole, other?.whole ?? 0),
  part: Math.max(one.part, other?.part ?? 0),
})

/** Half of the extra memory for each of the two models that are compared. */
export function budgetOf({ onto, activations }: RebasinAnalysis, spare: number): WeightsBudget {
  const least = largerOf(modelBytes(onto), activations && modelBytes(activations.onto))
  const more = spare / 2
  // Larger parts are not faster, and data in memory need not be read again.
  const part = Math.min(LARGEST_PART, least.part + more / (4 * PARTS))
  return { part, kept: least.whole + Math.max(0, more - PARTS * (part - least.part)) }
}

export function rebasinCost(analysis: RebasinAnalysis): AnalysisCost {
  const { steps, onto, models, symmetry, activations, given } = analysis
  if (given)
    return { steps, bytes: 4 * sum(Object.values(given.permutations).map((text) => text.length)), multiplications: 0 }
  const measured = activations && modelBytes(activations.onto)
  const parts = sum(
    [onto, largestModel(models)].map((model) => {
      const { whole, part } = largerOf(modelBytes(model), measured)
      return whole + PARTS * part
    }),
  )
  if (symmetry === 'orthogonal') {
    const { bytes, multiplications } = orthogonalCost(onto)
    const more = activations ? activationCost(onto, activations.onto) : { bytes: 0, multiplications: 0 }
    return {
      steps,
      bytes: parts + bytes + more.bytes,
      multiplications: models.length * (multiplications + more.multiplications),
    }
  }
  const spec = matchedSpec(analysis)
  const specs = activations ? [spec, activationsSpec(analysis)] : [spec]
  return {
    steps,
    bytes:
      parts +
      most(specs.map((one) => 4 * matricesLength(one) + assignBytes(largestSquare(one)))) +
      jointBytes(analysis, spec),
    multiplications:
      models.length * (sweepWork(spec, onto) + (activations ? sweepWork(specs[1]!, activations.onto) : 0)),
  }
}

/** The model that needs the most memory. */
const largestModel = (models: readonly AnalysisModel[]): AnalysisModel =>
  models.reduce((top, model) => {
    const bytes = (of: AnalysisModel) => modelBytes(of).whole + modelBytes(of).part
    return bytes(model) > bytes(top) ? model : top
  })

/** The sum of models is in float64. c2m3 keeps all models in memory, because it mixes them. */
function jointBytes({ method, onto, models }: RebasinAnalysis, spec: Spec): number {
  if (method !== 'merge-many' && method !== 'c2m3') return 0
  const all = sum(onto.tensors.map(elementsOf))
  const largest = most(onto.tensors.map(elementsOf))
  const states = sum(Object.keys(spec.groups).map((group) => gramLength(spec, group)))
  const count = models.length + 1
  return 20 * largest + (method === 'c2m3' ? count * (5 * 4 * all + 3 * 8 * states) : 0)
}

/** Multiplications per sweep: for each axis that moves, its length times the elements of the tensor. */
const sweepWork = (spec: Spec, { tensors }: AnalysisModel): number => {
  const shapes = new Map(tensors.map((tensor) => [tensor.name, tensor]))
  return sum(spec.parts.map(({ tensor, length }) => elementsOf(shapes.get(tensor)!) * length))
}

function orthogonalCost({ tensors, config }: AnalysisModel): Omit<AnalysisCost, 'steps'> {
  const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]))
  const { hidden, units, matrices, squares, inParts } = orthogonalSizes({
    tensors: byName,
    ...(config ? { config } : {}),
  })
  const square = hidden * hidden
  return {
    bytes:
      // A tensor of each model that is read whole.
      (inParts ? 0 : 2 * 4 * most(tensors.map(elementsOf))) +
      4 * units * units +
      assignBytes(units) +
      4 * sum(squares.map((side) => side * side)) +
      // The folded, rotated and mapped tensors of two models. Later any tensor of the aligned model, one at a time.
      4 * Math.max(4 * most(matrices.map(({ side }) => side * hidden)), most(tensors.map(elementsOf))) +
      (3 * 4 + 3 * 8) * square +
      polarBytes(hidden),
    // Rotating, comparing and adding, and about six iterations of a polar decomposition.
    multiplications: sum(matrices.map(({ side }) => side * square * 2 + side * side * hidden)) + 20 * square * hidden,
  }
}

/** Signed similarities of the feed-forward, the residual stream's sum, and one product per tensor. */
function activationCost({ tensors, config }: AnalysisModel, measured: AnalysisModel): Omit<AnalysisCost, 'steps'> {
  const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]))
  const { hidden, units } = orthogonalSizes({ tensors: byName, ...(config ? { config } : {}) })
  return {
    bytes: 4 * (units * units + 2 * hidden * hidden),
    multiplications: sum(measured.tensors.map(({ shape }) => shape[0]! * shape[1]! ** 2)),
  }
}

/** Units of the largest group to match. */
export function largestGroup(analysis: RebasinAnalysis): number {
  const { onto, symmetry } = analysis
  return symmetry === 'orthogonal'
    ? orthogonalSizes({
        tensors: new Map(onto.tensors.map((tensor) => [tensor.name, tensor])),
        ...(onto.config ? { config: onto.config } : {}),
      }).units
    : largestSquare(matchedSpec(analysis))
}
