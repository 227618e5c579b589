/** Finds the rows that approximate those of missing tokens, and the error that is left. */
import { elements } from '../../core/dtypes.js'
import { cosinesBytes } from '../../kernels/pursuit/index.js'
import type { AnalysisCost, AnalysisProgress, Found, FoundArrays, Workshop } from '../analysis.js'
import { approximate } from './approximate.js'
import { leastBytes } from './pursuit.js'
import { makingBytes } from './rows.js'
import {
  COPIED,
  FILLED,
  type ResidualRecord,
  type Role,
  type TransplantAnalysis,
  type TransplantRecord,
} from './types.js'

/** Tokens that a record names. */
const WORST = 10

export async function findRows(
  analysis: TransplantAnalysis,
  workshop: Workshop,
  tell: (progress: AnalysisProgress) => void,
): Promise<ReadonlyMap<string, Found<TransplantRecord>>> {
  const { steps, missing, k, parts, runs, rows, made, nearestWeights, subwordWeights } = analysis
  const [step] = steps as [string]
  const arrays: Record<string, FoundArrays[string]> = {}
  const residuals: Partial<Record<Role, ResidualRecord>> = {}
  for (const [index, { role, tensor }] of parts.entries()) {
    const found = await approximate(workshop, {
      tensor,
      shared: Int32Array.from(analysis.shared.donor),
      made: Int32Array.from(made),
      ...{ part: index, k, method: missing === 'nearest' ? nearestWeights! : 'omp' },
      tell: (text, share) => tell({ step, text: `${role}: ${text}`, fraction: (index + share) / parts.length }),
    })
    arrays[`${index}/atoms`] = found.atoms
    arrays[`${index}/weights`] = found.weights
    residuals[role] = residualRecord(found.atoms, found.residuals, analysis.tokens)
  }
  tell({ step, text: 'rows found', fraction: 1 })
  const count = (source: number): number => {
    let sum = 0
    for (let run = 0; run < runs.length; run += 3) if (runs[run + 1] === source) sum += runs[run]!
    return sum
  }
  const record: TransplantRecord = {
    missing,
    ...(missing === 'omp' || missing === 'nearest' ? { k } : {}),
    ...(nearestWeights ? { nearest_weights: nearestWeights } : {}),
    ...(subwordWeights ? { subword_weights: subwordWeights } : {}),
    ...{ rows, shared: count(COPIED), approximated: made.length, filled: count(FILLED) },
    ...(parts.length > 0 ? { residuals } : {}),
  }
  return new Map([[step, { record, arrays }]])
}

function residualRecord(atoms: Int32Array, residuals: Float64Array, tokens: readonly string[]): ResidualRecord {
  const most = atoms.length / residuals.length
  let [sum, used, widest] = [0, 0, 0]
  for (const [token, residual] of residuals.entries()) {
    sum += residual
    let own = 0
    while (own < most && atoms[token * most + own]! >= 0) own++
    used += own
    widest = Math.max(widest, own)
  }
  const order = [...residuals.keys()].sort((a, b) => residuals[b]! - residuals[a]! || a - b)
  return {
    mean: sum / residuals.length,
    max: residuals[order[0]!]!,
    worst: order.slice(0, WORST).map((token) => ({ token: tokens[token]!, residual: residuals[token]! })),
    most: widest,
    average: used / residuals.length,
  }
}

/** Memory for the donor's shared rows and their products, or for a tensor of the result. */
export function transplantCost(analysis: TransplantAnalysis): AnalysisCost {
  const { steps, parts, shared, made, grown, k, missing } = analysis
  const atoms = shared.donor.length
  const widest = (sizes: readonly number[]): number => sizes.reduce((most, size) => Math.max(most, size), 0)
  const width = widest(parts.map(({ tensor }) => tensor.shape[1]!))
  const found = 12 * parts.length * made.length * Math.min(k, atoms)
  const finding =
    missing === 'omp'
      ? widest(parts.map(({ tensor }) => leastBytes(tensor, atoms, Math.min(k, atoms))))
      : parts.length === 0
        ? 0
        : 4 * atoms * width + batchBytes(atoms, width)
  // A tensor that a step makes is read as a whole.
  const making = widest(
    grown.map(({ tensor: { shape, expr } }) => {
      const row = elements(shape.slice(1))
      return 4 * row * (expr.kind === 'read' ? 0 : shape[0]!) + makingBytes(row)
    }),
  )
  const multiplications = parts.reduce(
    (sum, { tensor }) => sum + atoms * (made.length + atoms / 2) * tensor.shape[1]!,
    0,
  )
  return { steps, bytes: found + Math.max(finding, making), multiplications }
}

/** What goes to a file where memory is short: products of shared rows, and later the tensors of the result. */
export function besideBytes({ missing, parts, shared, rows, grown }: TransplantAnalysis): number {
  const pairs = missing === 'omp' && parts.length > 0 ? cosinesBytes(shared.donor.length) : 0
  const tensors = grown.reduce((sum, { tensor: { shape } }) => sum + 4 * rows * elements(shape.slice(1)), 0)
  return Math.max(pairs, tensors)
}

/** Memory for the tokens that are approximated at once. */
const batchBytes = (atoms: number, width: number): number => 4 * 512 * (atoms + 2 * width)
