import type { ComputedExpr, FactorExpr } from '../expr/types.js'
import type { AxisMap, Finding } from '../views/types.js'

/** Findings of analyses and scopes for programs: small arrays, and functions that compute large ones on demand. */
export interface Findings {
  /** The maps of a tensor's axes. Axes that are not permuted have none. */
  readonly maps: (finding: Finding, shape: readonly number[]) => readonly AxisMap[]
  /** The values of a tensor that a step computes as a whole, as float32 on memory that threads share. */
  readonly computed: (step: string, tensor: string) => Promise<Float32Array>
  /** One of a factoring's two factors, in the compute type, in memory that threads share. Each one is requested once per job. */
  readonly factor: (factoring: number, factor: 'a' | 'b') => Float32Array | Float64Array
  /** Results of the passes of a scope, as far as they are known. */
  readonly scope: (index: number) => readonly Float64Array[]
}

/** The values of a leaf that is not in a file. */
export const leafValues =
  (findings: Findings) =>
  async (from: ComputedExpr | FactorExpr): Promise<Float32Array | Float64Array> =>
    from.kind === 'factor' ? findings.factor(from.factoring, from.factor) : findings.computed(from.step, from.tensor)
