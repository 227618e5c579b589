/** States of decoded readers that are ready to use. */
import type { DecodedReader } from '../../../../views/readers.js'
import type { Reading } from '../reading.js'
import { checkParts, fixedParts } from './fixed.js'
import { type DecodedState, newState } from './state.js'

const states = new WeakMap<DecodedReader, DecodedState>()

/** The state of a reader. It is made again if something else used its scratch space in the meantime, or another task. */
export function stateOf(reader: DecodedReader, reading: Reading): DecodedState {
  const { worker, scratch } = reading
  const known = states.get(reader)
  if (known && worker.scratchOwners.get(scratch) === reader && known.reading.scratch === scratch) return known
  worker.scratchOwners.set(scratch, reader)
  const state = newState(reader, reading)
  states.set(reader, state)
  checkParts(state, known === undefined)
  fixedParts(state)
  return state
}
