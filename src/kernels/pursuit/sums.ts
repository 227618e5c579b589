/** Sums of rows with weights. */
import type { Memory } from './memory.js'
import type { Files, SumsTask } from './types.js'

/** Sums until no token is left. */
export function sumRows(memory: Memory, task: SumsTask, { readAt }: Files): void {
  const { rows, width, places, tokens, k, atoms, weights, sums, next } = task
  const { at, buffer } = memory.layOut([8 * width, 4 * width])
  const [sumAt, rowAt] = at as [number, number]
  const sum = new Float64Array(buffer, sumAt, width)
  const row = new Float32Array(buffer, rowAt, width)
  const load = (place: number): void => {
    if (rows instanceof Float32Array) row.set(rows.subarray(place * width, (place + 1) * width))
    else readAt(rows.fd, row, 4 * place * width)
  }
  for (let token = Atomics.add(next, 0, 1); token < tokens; token = Atomics.add(next, 0, 1)) {
    sum.fill(0)
    for (let i = token * k; i < (token + 1) * k && atoms[i]! >= 0; i++) {
      load(places[atoms[i]!]!)
      memory.kernels.addRow(sumAt, rowAt, weights[i]!, width)
    }
    sums.set(sum, token * width)
  }
}
