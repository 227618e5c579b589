import { elements } from '../core/dtypes.js'
import type { ComputedExpr, ConstantExpr, FactorExpr } from '../expr/types.js'
import { factoringsOf } from '../expr/walk.js'
import type { Values } from '../views/readers.js'
import type { AxisMap, Finding } from '../views/types.js'

/** Findings of analyses and scopes for programs: small arrays, and functions that compute large ones on demand. */
export interface Findings {
  /** The maps of a tensor's axes. Axes that are not permuted have none. */
  readonly maps: (finding: Finding, shape: readonly number[]) => readonly AxisMap[]
  /** The values of a tensor that a step computes as a whole, as float32. */
  readonly computed: (step: string, tensor: string) => Promise<Values>
  /** One of a factoring's two factors, in the compute type, in memory that threads share. Each one is requested once per job. */
  readonly factor: (factoring: number, factor: 'a' | 'b') => Float32Array | Float64Array
  /** Results of the passes of a scope, as far as they are known. */
  readonly scope: (index: number) => readonly Float64Array[]
}

/** The values of a leaf that is not in a file. */
export const leafValues =
  (findings: Findings) =>
  async (from: ComputedExpr | ConstantExpr | FactorExpr): Promise<Values> => {
    if (from.kind === 'factor') return factorOf(findings, from)
    if (from.kind === 'computed') return findings.computed(from.step, from.tensor)
    return new Float32Array(new SharedArrayBuffer(4 * elements(from.shape))).fill(from.value)
  }

/** The values of a factor. Factors of several experts: rows of A by expert, and columns of B by rank and then by expert. */
function factorOf(findings: Findings, of: FactorExpr): Float32Array | Float64Array {
  const { factor, shape } = of
  const all = factoringsOf(of).map((index) => findings.factor(index, factor))
  const [first] = all as [Float32Array | Float64Array]
  if (all.length === 1) return first
  const memory = new SharedArrayBuffer(elements(shape) * first.BYTES_PER_ELEMENT)
  const joined = first instanceof Float32Array ? new Float32Array(memory) : new Float64Array(memory)
  const experts = all.length
  for (const [expert, own] of all.entries()) {
    if (factor === 'a') joined.set(own, expert * own.length)
    else for (let i = 0; i < own.length; i++) joined[i * experts + expert] = own[i]!
  }
  return joined
}
