/**
 * LoRA on a stack of experts W [experts, d1, d2] (`target_parameters`). A has the rows of all experts, expert after expert, and B
 * the columns of all experts, rank after rank. Layout `turned`: A [·, d1], B [d2, ·] and ΔW[e] = (B[e]·A[e])ᵀ. Layout
 * `straight`: A [·, d2], B [d1, ·] and ΔW[e] = B[e]·A[e].
 */
import { isFloat } from '../../encodings/index.js'
import type { ValueTensor } from '../../expr/values.js'
import { misfit, RIGHT_BASE, rankMisfit } from '../misfit.js'
import type { Change, Kind, Misfit, Update, Weight } from '../types.js'
import { factor, permute, reshape, viewOf } from '../views.js'

/** Networks of transformers whose experts are stored as [experts, inputs, outputs] and that say so to PEFT. */
const TRANSPOSED = /^(gpt_oss|aria(_text)?|openai_privacy_filter)$/

/** The `model_type` of a network, or of its text part. */
export function expertsType(config: Readonly<Record<string, unknown>> | undefined): string {
  const text = config?.text_config
  const own = typeof text === 'object' && text !== null ? (text as Record<string, unknown>).model_type : undefined
  return String(own ?? config?.model_type ?? '')
}

/** Whether versions of PEFT since 0.20 take the matrices of a stack as [inputs, outputs]. */
export const storesTransposed = (config: Readonly<Record<string, unknown>> | undefined): boolean =>
  TRANSPOSED.test(expertsType(config))

type Layout = 'straight' | 'turned'

/** The layout by the version of PEFT; undefined if it does not show it. */
function layoutBy(version: string, modelType: string): Layout | undefined {
  const match = /^(\d+)\.(\d+)\.(\d+)(.*)$/.exec(version)
  if (!match || modelType === '') return undefined
  const [major, minor, patch] = match.slice(1, 4).map(Number) as [number, number, number]
  const rest = match[4]!
  const transposed = TRANSPOSED.test(modelType)
  if (major > 0) return transposed ? 'turned' : 'straight'
  // Development versions lie between two layouts.
  if (rest !== '' && minor < 20) return undefined
  if (minor < 17) return undefined
  if (minor < 19) return 'turned'
  if (minor === 19 && patch === 0) return transposed ? 'straight' : 'turned'
  return transposed ? 'turned' : 'straight'
}

function change({ rank = 0, parts, settings }: Update, { shape, dtype }: Weight): Change | Misfit | undefined {
  const { a, b } = parts as { a: ValueTensor; b: ValueTensor }
  const shapes = `A [${a.shape.join(', ')}], B [${b.shape.join(', ')}] and the parameter [${shape.join(', ')}]`
  const unfit = (why: string): Misfit => misfit('adapter-shape', `: ${why}: ${shapes}`, RIGHT_BASE)
  if (a.shape.length !== 2 || b.shape.length !== 2) return unfit('the factors are not matrices')
  if (shape.length !== 3 && shape.length !== 2) return unfit('the parameter is not a matrix or a stack of matrices')
  if (![a, b].every((part) => isFloat(part.dtype)) || !isFloat(dtype))
    return unfit(`terge can't add factors in ${a.dtype} and ${b.dtype} to a parameter in ${dtype}`)
  const [experts, d1, d2] = shape.length === 3 ? (shape as [number, number, number]) : [1, shape[0]!, shape[1]!]
  if (a.shape[0] !== b.shape[1]) return unfit('the ranks differ')
  if (a.shape[0] !== rank * experts) {
    const stored = a.shape[0]! / experts
    return Number.isInteger(stored)
      ? rankMisfit(stored, rank)
      : unfit(`the factors are not those of ${experts} experts`)
  }
  const layout = layoutOf(a, b, shape, d1, d2, settings!)
  if (layout === undefined) return unfit('the shapes do not fit')
  if (layout === 'unknown')
    return misfit(
      'adapter-experts',
      ` is square, and nothing shows which of its factors belongs to the inputs: peft_version is ${settings!.version === '' ? 'absent' : settings!.version}`,
      'write peft_version in adapter_config.json and model_type in the model’s config.json, or merge the adapter with PEFT',
    )
  const first = reshape(viewOf(a), [experts, rank, a.shape[1]!])
  const second = permute(reshape(viewOf(b), [b.shape[0]!, rank, experts]), [2, 0, 1])
  const matrices = shape.length === 3 ? { matrices: experts } : {}
  if (layout === 'straight')
    return {
      kind: 'add',
      delta: {
        ...{ kind: 'product', rank, ...matrices },
        left: factor(reshape(second, [experts * d1, rank]), false),
        right: factor(first, true),
      },
    }
  return {
    kind: 'add',
    delta: {
      ...{ kind: 'product', rank, ...matrices },
      left: factor(reshape(permute(first, [0, 2, 1]), [experts * d1, rank]), false),
      right: factor(second, false),
    },
  }
}

function layoutOf(
  a: ValueTensor,
  b: ValueTensor,
  shape: readonly number[],
  d1: number,
  d2: number,
  { version, modelType }: NonNullable<Update['settings']>,
): Layout | 'unknown' | undefined {
  const isStraight = a.shape[1] === d2 && b.shape[0] === d1
  // A single matrix is that of a linear layer.
  const isTurned = a.shape[1] === d1 && b.shape[0] === d2 && shape.length === 3 && shape[0]! > 1
  if (isStraight && isTurned) return layoutBy(String(version), String(modelType)) ?? 'unknown'
  return isStraight ? 'straight' : isTurned ? 'turned' : undefined
}

export const experts: Kind = { name: 'experts', title: 'LoRA on experts', parts: ['a', 'b'], change }
