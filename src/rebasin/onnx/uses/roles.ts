/** Which tensor of its module a node reads at each input. */
import type { OnnxNode } from '../graph/model.js'

/** The tensor that an initializer is. */
export interface Use {
  readonly tensor: string
  /** The initializer has the axes in the opposite order: a linear layer's weight. */
  readonly reversed: boolean
}

export interface Role {
  /** The end of the tensor's name. */
  readonly part: string
  /** Whether the export has it transposed. */
  readonly reversed: boolean
}

const plain = (...parts: string[]): Role[] => parts.map((part) => ({ part, reversed: false }))
const WEIGHT = plain('weight')
const BIAS = plain('bias', 'in_proj_bias')
const LINEAR: readonly Role[] = ['weight', 'in_proj_weight'].map((part) => ({ part, reversed: true }))
const NORM = [[], WEIGHT, plain('bias'), plain('running_mean'), plain('running_var')]

/** By operator, by input. */
const ROLES: Readonly<Record<string, readonly (readonly Role[])[]>> = {
  Conv: [[], WEIGHT, plain('bias')],
  ConvTranspose: [[], WEIGHT, plain('bias')],
  BatchNormalization: NORM,
  InstanceNormalization: NORM,
  LayerNormalization: NORM,
  RMSNormalization: NORM,
  GroupNormalization: NORM,
  PRelu: [[], WEIGHT],
  MatMul: [[], LINEAR],
  Gather: [WEIGHT],
  Mul: [WEIGHT, WEIGHT],
  Add: [BIAS, BIAS],
  Transpose: [plain('weight', 'in_proj_weight')],
}

export function rolesOf({ op, integers }: OnnxNode, index: number): readonly Role[] {
  if (op === 'Gemm' && index === 1) return integers.get('transB')?.[0] ? plain('weight', 'in_proj_weight') : LINEAR
  if (op === 'Gemm' && index === 2) return BIAS
  return Object.hasOwn(ROLES, op) ? (ROLES[op]![index] ?? []) : []
}
