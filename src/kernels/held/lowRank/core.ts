/** core: each low-rank change of a weight as a small matrix, in the basis of the singular vectors of all of them. */
import { type HeldRule, type HeldWork, rooms } from '../types.js'
import { baseBytes, baseOperations, basePlaces, fillFactors, makeBases } from './bases.js'

function places(work: HeldWork) {
  const room = rooms()
  const bases = basePlaces(work, room)
  const own = room.take(baseBytes(work))
  return { bases, own, total: room.total() }
}

/** Where cores and bases are, in bytes from the work's origin. The bases have vectors in rows. */
export function corePlaces(work: HeldWork): {
  readonly cores: readonly number[]
  readonly zero: number
  readonly down: number
  readonly across: number
} {
  const { cores, zero, b, a } = places(work).bases
  return { cores, zero, down: b, across: a }
}

export const core: HeldRule = {
  layout(work) {
    const { bases, own, total } = places(work)
    return {
      bytes: total,
      operations: baseOperations(work),
      steps: [...fillFactors(work, bases), { kind: 'solve', stage: 0 }],
      result: 0,
      own,
    }
  },
  solve(team, work, _, origin) {
    makeBases(team, work, places(work).bases, origin)
  },
}
