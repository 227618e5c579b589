/** Records ranges of tiles of tensors that are under way. */
import { TILE } from '../../kernels/types.js'
import type { Unit } from '../../plan/units.js'
import type { Job } from '../compile/job.js'
import type { Program } from '../program.js'
import { digestedIn, EVERY, spanOf, type TileRange } from '../schedule/ranges.js'
import type { KeepRanges } from '../schedule/schedule.js'
import type { Engine } from '../units/types.js'
import { activeLeaves } from '../worker/shortcuts.js'
import type { ByteRange, TileRecord } from './records.js'

/** Numbers of a range are only recorded if the range is so many times as large. Else its pass is done again. */
const LEAST_GAIN = 16

/**
 * Whether ranges of a job's tiles can be recorded. Work on whole matrices is not done in ranges, and factors are gone when the run ends.
 */
export const isKept = ({ target, needs, program: { held, output } }: Job): boolean =>
  target !== undefined && !needs && !held && output?.digest === true && Number.isInteger(output.elementBytes)

export function tileKeeper(engine: Engine): KeepRanges | undefined {
  const { units, noteTiles, digests, rangeBytes = EVERY } = engine
  if (!noteTiles || !digests.enabled) return undefined
  return {
    every: rangeBytes,
    keep(job, pass, ranges) {
      const { output, tensor } = job.target!
      const unit = units.tensor(output, tensor)
      const inputs = inputsUpTo(engine, unit, job.program, pass)
      if (!inputs) return false
      for (const range of ranges()) {
        const record = recordOf(engine, unit, job.program, range, inputs)
        if (isWorthwhile(record)) noteTiles(output, record)
      }
      return true
    },
  }
}

/** The digests of all that a range of this pass depends on, except for what the pass digests itself; undefined if one is not known yet. */
function inputsUpTo(
  { records, units: { stored } }: Engine,
  unit: Unit,
  program: Program,
  pass: number,
): (string | null)[] | undefined {
  const inputs = records.inputsOf(unit)
  const active = activeLeaves(program, pass)
  const pending = new Set<number>()
  for (const [index, { digestIn, reader }] of program.leaves.entries()) {
    // What a later pass digests, this one must not read. What earlier passes read of it shows in what this one is given.
    const isPending = digestIn === pass || (digestIn > pass && !active.includes(index))
    if (isPending && reader.kind === 'contiguous') pending.add(unit.reads.indexOf(stored.numberOf(reader)))
  }
  return inputs.every((digest, index) => digest !== null || pending.has(index)) ? inputs : undefined
}

function recordOf(
  { units: { stored } }: Engine,
  { key, reads }: Unit,
  program: Program,
  range: TileRange,
  inputs: readonly (string | null)[],
): TileRecord {
  const { pass, firstTile, tiles, given, sums, counts, nonFinite, read } = range
  const leaves: TileRecord['leaves'][number][] = []
  let output: ByteRange | undefined
  for (const { key, elementBytes } of digestedIn(program, pass)) {
    const leaf = program.leaves[key]
    const reader = leaf?.reader.kind === 'contiguous' ? leaf.reader : undefined
    const all = reader?.bytes ?? program.elements * elementBytes
    const [from, end] = spanOf(program, key, range).map((tile) => Math.min(all, tile * TILE * elementBytes)) as [
      number,
      number,
    ]
    const own = { from, bytes: end - from, digests: range.digests.get(key)! }
    if (reader) leaves.push({ read: reads.indexOf(stored.numberOf(reader)), ...own })
    else output = own
  }
  return {
    ...{ key, pass, firstTile, tiles, given, inputs, leaves, nonFinite, read },
    ...(output ? { output } : {}),
    ...(sums ? { sums } : {}),
    ...(counts ? { counts } : {}),
  }
}

function isWorthwhile({ tiles, sums, counts }: TileRecord): boolean {
  const bytes = (sums?.byteLength ?? 0) + (counts?.byteLength ?? 0)
  return bytes * LEAST_GAIN <= tiles * TILE
}
