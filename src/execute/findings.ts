import type { ComputedExpr, FactorExpr } from '../expr/types.js'
import type { AxisMap, Finding } from '../views/types.js'

/** What was found before a tensor is made, as programs use it: small things, and how to compute large ones when they are needed. */
export interface Findings {
  /** How places along a tensor's axes are read; axes that stay as they are have no map. */
  readonly maps: (finding: Finding, shape: readonly number[]) => readonly AxisMap[]
  /** The values of a tensor that a step computes as a whole, as float32 on memory that threads share. */
  readonly computed: (step: string, tensor: string) => Promise<Float32Array>
  /** One of a factoring's two factors, in the compute type, on memory that threads share: each is asked for once a job. */
  readonly factor: (factoring: number, factor: 'a' | 'b') => Float32Array | Float64Array
  /** Results of the passes of one of the plan's scopes, as far as they are known. */
  readonly scope: (index: number) => readonly Float64Array[]
}

/** The values of a leaf that is in no file. */
export const leafValues =
  (findings: Findings) =>
  async (from: ComputedExpr | FactorExpr): Promise<Float32Array | Float64Array> =>
    from.kind === 'factor' ? findings.factor(from.factoring, from.factor) : findings.computed(from.step, from.tensor)
