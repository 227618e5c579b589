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

/** Tensors that cannot be compared first, then by relative L2 distance, equal ones last; ties in the order of names. */
const rank = ({ state, relativeL2 }: TensorDifference): number => {
  if (state === 'equal') return -1
  return relativeL2 === undefined || Number.isNaN(relativeL2) ? Infinity : relativeL2
}

/** Overall figures: how many tensors differ and how, and the largest differences. */
function overall(rows: readonly TensorDifference[]): string[] {
  const differing = rows.filter(({ state }) => state !== 'equal')
  if (differing.length === 0) return [`all equal: ${counted(rows.length, 'tensor')}`]
  const states = Object.entries(STATES).flatMap(([state, text]) => {
    const count = differing.filter((row) => row.state === state).length
    return count === 0 || state === 'differs' ? [] : [`${text}: ${formatCount(count)}`]
  })
  const by = (figure: (row: TensorDifference) => number | undefined, title: string): string[] => {
    const known = differing.filter((row) => Number.isFinite(figure(row)))
    const worst = known.reduce<TensorDifference | undefined>(
      (best, row) => (best && figure(best)! >= figure(row)! ? best : row),
      undefined,
    )
    return worst ? [`${title}: ${number(Math.abs(figure(worst)!))} (${printable(worst.tensor)})`] : []
  }
  return [
    `${formatCount(differing.length)} of ${counted(rows.length, 'tensor')} differ`,
    ...states,
    ...by(({ relativeL2 }) => relativeL2, 'largest relative L2'),
    ...by(({ largest }) => largest, 'largest |a − b|'),
  ]
}

/** The comparison of two models for people: overall figures, then the tensors that differ, the most different first. */
export const diffText = (rows: readonly TensorDifference[], { all }: { readonly all: boolean }): string => {
  const shown = rows
    .filter(({ state }) => all || state !== 'equal')
    .map((row) => ({ row, rank: rank(row) }))
    .sort((a, b) => (a.rank === b.rank ? 0 : b.rank > a.rank ? 1 : -1))
  const body = shown
    .map(({ row }) => row)
    .map(({ tensor, state, cosine, relativeL2, largest }) => [
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
  return [overall(rows).join('\n'), ...(body.length > 0 ? [table(columns, body)] : [])].join('\n\n')
}
