/** Operators that treat channels group by group. */
import { type Axis, ofRuns, plain, sliceAxis, spreadRuns } from './axis.js'
import { contract, join } from './join.js'
import { stay, type Tied } from './ties.js'

/**
 * The units of an axis can change places only within blocks of so many places. With `outers`, blocks can change places
 * as a whole: `outers[b]` stands for block b.
 */
export function markBlocks({ ties }: Tied, { runs }: Axis, places: number, outers?: Int32Array): void {
  let at = 0
  for (const { ids, each, length, first } of runs ?? []) {
    const start = at
    at += length
    if (!ids) continue
    const block = (k: number) => Math.floor((start + k * each) / places)
    // A unit of several places may lie in two blocks.
    const isSplit =
      first !== undefined ||
      Array.from(ids).some((_, k) => block(k) !== Math.floor((start + (k + 1) * each - 1) / places))
    if (isSplit) ties.fix(ids, 'its places are in different groups')
    else if (outers) ties.nest(ids, block, outers)
    else ties.mark(ids, block)
  }
}

/**
 * A convolution in groups, not transposed. Each group reads its own input channels through the same columns of the
 * weight. So input channels move in the same way in all groups, and output channels move within their group.
 */
export function groupedOutputs(
  network: Tied,
  channels: Axis,
  [first, second]: readonly [Axis, Axis],
  groups: number,
  where: string,
): Axis {
  const each = second.length
  const outputs = first.length === undefined ? undefined : first.length / groups
  if (each === undefined || outputs === undefined || !Number.isInteger(outputs) || channels.length !== each * groups) {
    stay(network, [channels, first, second], `${where} is a convolution in groups of unknown sizes`)
    return plain(first.length)
  }
  // Depthwise: each channel has its own outputs.
  if (each === 1) {
    const runs = channels.runs && spreadRuns(channels.runs, outputs)
    join(network, first, runs ? ofRuns(runs) : plain(first.length), where)
    if (!runs) stay(network, [channels], `${where} has a group per channel`)
    return first
  }
  for (let group = 0; group < groups; group++) contract(network, sliceAxis(channels, group * each, each), second, where)
  markBlocks(network, first, outputs)
  return first
}

/** Rows of a recurrent layer are gates times units: those of each gate are the layer's units. */
export function tieGates(network: Tied, rows: Axis, units: Axis, gates: number, where: string): void {
  for (let gate = 0; gate < gates; gate++)
    join(network, sliceAxis(rows, gate * units.length!, units.length!), units, where)
}
