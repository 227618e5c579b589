/** Activations with mean 0 and norm 1 over the samples, so that products of two units are correlations. */

import { sharedCopy } from '../../core/collections/sharedArrays.js'
import { fault } from '../../core/diagnostics.js'
import type { ThreadTeam } from '../team/team.js'
import { createWeights, rowLength, type TensorSource, type WeightsBudget } from '../weights.js'

/** Per place of a tensor's second axis. */
interface Moments {
  readonly mean: Float64Array
  /** 1 / the norm of what differs from the mean; 0 for a place that does not vary. */
  readonly scale: Float64Array
}

export interface Standardized {
  readonly source: TensorSource
  /** By tensor: 1 for places that do not vary. */
  readonly still: ReadonlyMap<string, Uint8Array>
}

/** Float32 noise of a constant: below this, relative to the mean, a place does not vary. */
const NOISE = 1e-6

/** Reads every tensor once for its moments. `of`: the model in messages. Error: `bad-statistics` for numbers that are not finite. */
export async function standardized(
  source: TensorSource,
  names: readonly string[],
  of: string,
  team: ThreadTeam,
  budget?: WeightsBudget,
): Promise<Standardized> {
  const weights = createWeights(source, budget)
  const moments = new Map<string, Moments>()
  for (const name of names) {
    const [samples, width] = source.tensors.get(name)!.shape as [number, number]
    const sums = { shift: new Float64Array(width), sum: new Float64Array(width), squares: new Float64Array(width) }
    const most = Math.max(1, Math.floor(weights.part / Math.max(1, width)))
    // Rows are added in order, so what is read at once does not affect the sums.
    for (let first = 0; first < samples; first += most) {
      const rows = Int32Array.from({ length: Math.min(most, samples - first) }, (_, i) => first + i)
      const { data, starts, release } = await weights.rows(name, rows)
      for (const [i, start] of starts.entries()) addRow(sums, data, start, first + i === 0)
      release()
      await team.pause()
    }
    if (sums.squares.some((value) => !Number.isFinite(value)))
      throw fault(
        'bad-statistics',
        `the activations of ${of} have values in ${name} that are not finite`,
        'measure them again, in float32, on inputs for which the network computes finite values',
      )
    moments.set(name, momentsOf(sums, samples))
  }
  const still = new Map(
    [...moments].map(([name, { scale }]) => [name, Uint8Array.from(scale, (x) => (x === 0 ? 1 : 0))]),
  )
  return { source: scaled(source, moments), still }
}

interface Sums {
  /** The first sample: sums of differences from it lose no precision. */
  readonly shift: Float64Array
  readonly sum: Float64Array
  readonly squares: Float64Array
}

function addRow({ shift, sum, squares }: Sums, data: Float32Array, start: number, first: boolean): void {
  if (first) for (let j = 0; j < shift.length; j++) shift[j] = data[start + j]!
  for (let j = 0; j < shift.length; j++) {
    const difference = data[start + j]! - shift[j]!
    sum[j] = sum[j]! + difference
    squares[j] = squares[j]! + difference * difference
  }
}

function momentsOf({ shift, sum, squares }: Sums, samples: number): Moments {
  const mean = shift.map((value, j) => value + sum[j]! / samples)
  const scale = squares.map((value, j) => {
    const norm = Math.sqrt(Math.max(0, value - sum[j]! ** 2 / samples))
    return norm > NOISE * Math.abs(mean[j]!) * Math.sqrt(samples) ? 1 / norm : 0
  })
  return { mean, scale }
}

const scaled = (source: TensorSource, moments: ReadonlyMap<string, Moments>): TensorSource =>
  transformed(source, (name, values) => {
    const { mean, scale } = moments.get(name)!
    const width = mean.length
    for (let start = 0; start < values.length; start += width)
      for (let j = 0; j < width; j++) values[start + j] = (values[start + j]! - mean[j]!) * scale[j]!
  })

/** The same tensors with their rows changed in place as they are read. */
export function transformed(source: TensorSource, change: (name: string, rows: Float32Array) => void): TensorSource {
  const { readRows } = source
  return {
    ...source,
    async read(name) {
      const values = sharedCopy((await source.read(name)).slice())
      change(name, values)
      return values
    },
    ...(readRows
      ? {
          async readRows(name, rows, into) {
            const read = await readRows(name, rows, into)
            if (read) change(name, into.subarray(0, rows.length * rowLength(source.tensors.get(name)!.shape)))
            return read
          },
        }
      : {}),
  }
}
