/** Encodings: how stored elements stand for numbers. One file each for those that terge computes on; `index.ts` lists them. */
import type { Dtype, FloatDtype, OutputDtype } from '../core/dtypes.js'

export interface Encoding {
  /** As safetensors, plans and lineages call it. */
  readonly name: Dtype
  /** Of an element. Tensors whose elements do not fill whole bytes are refused where they are opened. */
  readonly bits: number
  readonly numbers: 'float' | 'integer' | 'truth' | 'complex'
  /** What PyTorch calls its dtype, the usual name first: without `torch.`. */
  readonly torch: readonly string[]
  /** What PyTorch calls its storage class: without `torch.` and `Storage`. */
  readonly torchStorage?: string
  /** What the kernels call it that turn it into float32 or float64. Absent: such tensors are copied byte for byte. */
  readonly read?: FloatDtype
  /** How results are rounded to it. Where `read` is there and this is not, `refusal` says why. */
  readonly write?: {
    /** What the kernels call it that round to it: to nearest even, once, with one NaN. */
    readonly kernel: OutputDtype
    /** What a recipe's `dtype` may say for it. */
    readonly recipe: readonly string[]
  }
  readonly refusal?: string
}
