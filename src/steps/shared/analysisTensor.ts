import type { AnalysisTensor } from '../../expr/types.js'
import type { ValueTensor } from '../../expr/values.js'

/** A tensor of a value, in the form that analyses read. */
export const analysisTensor = (name: string, { dtype, shape, expr }: ValueTensor): AnalysisTensor => ({
  name,
  dtype,
  shape,
  expr,
})
