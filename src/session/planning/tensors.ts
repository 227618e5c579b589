import type { Plan } from '../../plan/types.js'
import { planUnits } from '../../plan/units.js'

/** A tensor of a plan, as it is compared with those of other plans. */
export interface PlannedTensor {
  /** Index into `Plan.outputs`. */
  readonly output: number
  readonly name: string
  /**
   * `sha256:…` over how the tensor is made: method, weights, parameters, dtype, and which stored names go where. Two planned tensors with
   * the same key have the same values where the stored tensors that they read hold the same. Models' names and paths, files, shards and
   * outputs have no part in it. Only where a method draws random numbers for them, names of models count, and so does the seed.
   */
  readonly key: string
  /** The stored tensors that it is made of, in the order in which its making mentions them; what is found before it included. */
  readonly reads: readonly { readonly model: string; readonly file: string; readonly tensor: string }[]
}

/**
 * The tensors of a plan with their keys, one after another. With `planOpened`, plans over the same opened models can be compared tensor by
 * tensor: what has the same key and the same reads need not be made twice.
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
