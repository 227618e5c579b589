import type { Plan } from '../types.js'

/**
 * Indexes of outputs that are made together. First the checkpoints of checks, each separately, then all ordinary outputs together,
 * and each checkpoint of an interpolation separately.
 */
export function batchesOf({ outputs }: Pick<Plan, 'outputs'>, open: readonly number[]): number[][] {
  const checks = open.filter((index) => outputs[index]!.check).map((index) => [index])
  const together = open.filter((index) => !outputs[index]!.point && !outputs[index]!.check)
  const alone = open.filter((index) => outputs[index]!.point).map((index) => [index])
  return [...checks, ...(together.length > 0 ? [together] : []), ...alone]
}
