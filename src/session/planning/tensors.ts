import type { Plan } from '../../plan/types.js'
import { planUnits } from '../../plan/units.js'

/** A tensor of a plan, with a key to compare it with tensors of other plans. */
export interface PlannedTensor {
  /** Index into `Plan.outputs`. */
  readonly output: number
  /** The name in the output. */
  readonly name: string
  /**
   * `sha256:…` over how the tensor is made: method, weights, parameters, dtype, and which stored names go where. Two planned tensors with
   * the same key have the same values if the stored tensors that they read are equal. Models' names and paths, files, shards and
   * outputs do not affect the key. Names of models and the seed affect it only for methods with random numbers.
   */
  readonly key: string
  /** The stored tensors that it depends on, in the order of its expression, including inputs of analyses. */
  readonly reads: readonly { readonly model: string; readonly file: string; readonly tensor: string }[]
}

/**
 * The tensors of a plan with their keys. With `planOpened`, plans over the same opened models can be compared tensor by
 * tensor: tensors with the same key and the same reads need to be made only once. Never throws.
 */
export function* plannedTensors(plan: Plan): Generator<PlannedTensor> {
  const units = planUnits(plan)
  for (const [output, { tensors }] of plan.outputs.entries())
    for (const [index, { name }] of tensors.entries()) {
      const unit = units.tensor(output, index)
      const needed = new Set(unit.reads)
      const visit = (needs: typeof unit.needs): void => {
        for (const { reads, needs: before } of needs.map(units.unit)) {
          for (const number of reads) needed.add(number)
          visit(before)
        }
      }
      visit(unit.needs)
      const reads = [...needed].map((number) => {
        const { file, name: tensor } = units.stored.placeOf(number)
        const { model, name } = plan.files[file]!
        return { model: plan.models[model]!.name, file: name, tensor }
      })
      yield { output, name, key: unit.key, reads }
    }
}
