/**
 * Encodings: how stored elements represent numbers. Each encoding that terge computes with has its own file; `index.ts`
 * lists them all.
 */
import type { Dtype, FloatDtype, OutputDtype } from '../core/dtypes.js'

export interface Encoding {
  /** The name in safetensors, plans and lineages. */
  readonly name: Dtype
  /** Bits per element. Opening a tensor whose elements do not fill whole bytes is an error. */
  readonly bits: number
  readonly numbers: 'float' | 'integer' | 'truth' | 'complex'
  /** The names of PyTorch's dtype without `torch.`, the usual name first. */
  readonly torch: readonly string[]
  /** The name of PyTorch's storage class, without `torch.` and `Storage`. */
  readonly torchStorage?: string
  /** The dtype of the kernels that convert it to float32 or float64. Absent: such tensors are copied byte for byte. */
  readonly read?: FloatDtype
  /** How results are written in it. If `read` is present and `write` is not, `refusal` says why. */
  readonly write?: {
    /** The dtype of the kernels that round to it: once, to nearest even, with one NaN. */
    readonly kernel: OutputDtype
    /** Its names in `dtype` of a recipe. */
    readonly recipe: readonly string[]
  }
  readonly refusal?: string
}
