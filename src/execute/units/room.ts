import { aligned } from '../../core/webassembly.js'
import { computeOf, factoringInputs, heldCost, leafCount, rowReach } from '../../expr/cost.js'
import { heldLayout } from '../../kernels/held/index.js'
import type { Plan } from '../../plan/types.js'
import type { PoolSetup } from '../pools/types.js'

/** The sizes of a pool that fits every program of the plan. */
export function roomOf(plan: Plan): Required<Pick<PoolSetup, 'leaves' | 'reach' | 'held'>> {
  // Statistics are compared with their own transpose.
  const room = { leaves: 2, reach: 0, held: 0 }
  const add = (leaves: number, reach: number, held: number): void => {
    room.leaves = Math.max(room.leaves, leaves)
    room.reach = Math.max(room.reach, reach)
    room.held = Math.max(room.held, held)
  }
  for (const { tensors } of [...plan.outputs, ...plan.scopes])
    for (const { name, shape, expr } of tensors) {
      const held = heldCost(expr, name, shape, computeOf(plan.compute, expr))?.bytes ?? 0
      add(leafCount(expr, name, shape), rowReach(expr, name, shape), held)
    }
  for (const factoring of plan.factorings) {
    const { tensor, work } = factoring
    const own = aligned(heldLayout(work).bytes)
    const inputs = factoringInputs(factoring)
    add(
      inputs.reduce((sum, { part, shape }) => sum + leafCount(part, tensor, shape), 0),
      inputs.reduce((most, { part, shape }) => Math.max(most, rowReach(part, tensor, shape)), 0),
      inputs.reduce((sum, { part, shape }) => sum + (heldCost(part, tensor, shape, work.compute)?.bytes ?? 0), own),
    )
  }
  return room
}
