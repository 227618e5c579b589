/** Rows of single tokens (`trainable_token_indices`), which replace those of an embedding. */
import type { ValueTensor } from '../../expr/values.js'
import { misfit, RIGHT_BASE } from '../misfit.js'
import type { Change, Kind, Misfit, Update, Weight } from '../types.js'
import { read, viewOf } from '../views.js'

function change({ parts, settings }: Update, { shape, expr }: Weight): Change | Misfit {
  const { rows } = parts as { rows: ValueTensor }
  const indices = settings!.indices as readonly number[]
  if (rows.shape.length !== 2 || rows.shape[1] !== shape[1] || rows.shape[0] !== indices.length)
    return misfit(
      'adapter-shape',
      `: it has rows [${rows.shape.join(', ')}] for ${indices.length} tokens of an embedding [${shape.join(', ')}]`,
      RIGHT_BASE,
    )
  const [total] = shape as [number]
  const beyond = indices.find((row) => row >= total)
  if (beyond !== undefined)
    return misfit(
      'adapter-shape',
      `: it has a row for token ${beyond}, but the embedding has ${total} rows`,
      RIGHT_BASE,
    )
  if (expr.kind !== 'read') return misfit('adapter-shape', ': the adapter changes it twice', RIGHT_BASE)
  const order = indices.map((row, at) => ({ row, at })).sort((a, b) => a.row - b.row)
  const runs: number[] = []
  let next = 0
  for (const { row, at } of order) {
    if (row > next) runs.push(row - next, 0, next)
    runs.push(1, 1, at)
    next = row + 1
  }
  if (next < total) runs.push(total - next, 0, next)
  return {
    kind: 'replace',
    expr: read({ kind: 'gather', of: [expr.view, viewOf(rows)], map: { rows: total, runs, means: [] } }),
  }
}

export const tokens: Kind = { name: 'tokens', title: 'rows of tokens', parts: ['rows'], change }
