import { counted, formatCount } from '../core/words.js'
import type { TensorDifference } from '../index.js'
import { printable, table } from './text.js'

const number = (value: number | undefined): string => (value === undefined ? '-' : value.toPrecision(6))

const STATES: Record<TensorDifference['state'], string> = {
  equal: 'equal',
  differs: 'differs',
  'only-a': 'only in A',
  'only-b': 'only in B',
  shape: 'shape differs',
  dtype: 'dtype differs',
}

/** The comparison of two models for people, one line per tensor. */
export const diffText = (rows: readonly TensorDifference[]): string => {
  const differing = rows.filter(({ state }) => state !== 'equal').length
  const body = rows.map(({ tensor, state, cosine, relativeL2, largest }) => [
    printable(tensor),
    STATES[state],
    number(cosine),
    number(relativeL2),
    number(largest),
  ])
  const right = 'right' as const
  const columns = [
    { title: 'tensor' },
    { title: 'state' },
    { title: 'cosine', align: right },
    { title: 'relative L2', align: right },
    { title: 'largest', align: right },
  ]
  const verdict =
    differing === 0 ? 'all equal' : `${formatCount(differing)} of ${counted(rows.length, 'tensor')} differ`
  return `${table(columns, body)}\n\n${verdict}`
}
