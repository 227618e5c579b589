import type { Alignment } from '../expr/types.js'
import type { AxisMap } from '../rebasin/apply.js'
import type { StepRecord } from '../steps/index.js'

/** What the analyses of a plan found: small things, and how to compute large ones when they are needed. */
export interface Findings {
  /** How places along a tensor's axes are read; axes that stay as they are have no map. */
  readonly maps: (alignment: Alignment, shape: readonly number[]) => readonly AxisMap[]
  /** The values of a tensor that a step computes as a whole, as float32 on memory that threads share. */
  readonly computed: (step: string, tensor: string) => Promise<Float32Array>
  /** One of a factoring's two factors, in the compute type, on memory that threads share: each is asked for once a job. */
  readonly factor: (factoring: number, factor: 'a' | 'b') => Float32Array | Float64Array
  /** By scope of the plan: the results of its passes, as far as they are known. */
  readonly scopes: readonly (readonly Float64Array[])[]
  /** By step, what the lineage tells of it. */
  readonly records: ReadonlyMap<string, StepRecord>
}

/** Before tensors are made. */
export function noFactor(factoring: number): never {
  throw new Error(`internal: factoring ${factoring} has not been done`)
}

export const NO_FINDINGS: Findings = {
  maps: ({ step }) => {
    throw new Error(`internal: step ${step} has found nothing`)
  },
  computed: (step) => Promise.reject(new Error(`internal: step ${step} has computed nothing`)),
  factor: noFactor,
  scopes: [],
  records: new Map(),
}
