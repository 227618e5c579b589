import { counted, formatCount } from '../core/words.js'
import type { LayerDifference, ModelDifference, TensorDifference } from '../index.js'
import { fitted, wrapped } from './fit.js'
import { bar, shortened } from './progress/bar.js'
import { printable } from './text.js'

const number = (value: number | undefined): string => (value === undefined ? '-' : value.toPrecision(6))

const STATES: Record<TensorDifference['state'], string> = {
  equal: 'equal',
  differs: 'differs',
  'only-a': 'only in A',
  'only-b': 'only in B',
  shape: 'shape differs',
  dtype: 'dtype differs',
}

export interface DiffLook {
  /** Also list tensors that are equal. */
  readonly all: boolean
  /** Columns that a line may have. */
  readonly width: number
  readonly unicode: boolean
}

/** Tensors that cannot be compared first, then by relative L2 distance, equal ones last; ties in the order of names. */
const rank = ({ state, relativeL2 }: TensorDifference): number => {
  if (state === 'equal') return -1
  return relativeL2 === undefined || Number.isNaN(relativeL2) ? Infinity : relativeL2
}

/** Overall figures: how many tensors differ and how, the distance of the models, and the largest differences. */
function overallText({ overall, tensors, readAs, notRead = [] }: ModelDifference): string[] {
  const { states, cosine, l2, relativeL2 } = overall
  if (readAs || notRead.length > 0)
    return [
      ...overallText({ overall, tensors, layers: [] }),
      ...(readAs ? [`B is read as ${readAs.join(' and ')}, as A is stored`] : []),
      ...notRead.map(
        ({ layout, as, why }) =>
          `B has ${readAs?.includes(as) ? 'tensors of ' : ''}the layout ${layout}, and A has ${as}. These tensors are compared as they are stored: ${printable(why)}`,
      ),
    ]
  const differing = tensors.filter(({ state }) => state !== 'equal')
  if (differing.length === 0) return [`all equal: ${counted(overall.tensors, 'tensor')}`]
  const counts = Object.entries(STATES).flatMap(([state, text]) => {
    const count = states[state as TensorDifference['state']]
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
    `${formatCount(differing.length)} of ${counted(overall.tensors, 'tensor')} differ`,
    ...counts,
    ...(l2 === undefined
      ? []
      : [`all tensors of both: cosine ${number(cosine)}, L2 ${number(l2)}, relative L2 ${number(relativeL2)}`]),
    ...by(({ relativeL2 }) => relativeL2, 'largest relative L2'),
    ...by(({ largest }) => largest, 'largest |a − b|'),
  ]
}

/** A bar per layer: how far its tensors are apart. Empty if there are no layers, or no differences that are known. */
function layersText(layers: readonly LayerDifference[], { width, unicode }: DiffLook): string[] {
  const most = layers.reduce((most, { relativeL2 = 0 }) => (relativeL2 > most ? relativeL2 : most), 0)
  if (layers.length < 2 || !(most > 0)) return []
  const stacks = new Set(layers.flatMap(({ stack }) => (stack === undefined ? [] : [stack])))
  const nameOf = ({ stack, layer }: LayerDifference): string =>
    stack === undefined ? 'other tensors' : stacks.size === 1 ? `layer ${layer}` : printable(`${stack}.${layer}`)
  const names = layers.map(nameOf)
  const room = Math.max(...names.map((name) => name.length))
  const label = Math.min(room, Math.max(13, width - VALUE - NARROWEST_BAR - 4))
  const columns = Math.max(NARROWEST_BAR, Math.min(WIDEST_BAR, width - label - VALUE - 4))
  const lines = layers.map(({ relativeL2 }, i) => {
    const share = Number.isFinite(relativeL2) ? relativeL2! / most : 0
    const drawn = bar(share, columns, { inColour: false, unicode, empty: ' ' })
    return `${shortened(names[i]!, label).padEnd(label)}  ${drawn}  ${relativeL2 === undefined ? '-' : number(relativeL2)}`
  })
  return ['relative L2 by layer', ...lines]
}

const VALUE = 11
const [NARROWEST_BAR, WIDEST_BAR] = [6, 50]

/** The comparison of two models for people: overall figures, the tensors that differ, the most different first, and the layers. */
export function diffText(difference: ModelDifference, look: DiffLook): string {
  const shown = difference.tensors
    .filter(({ state }) => look.all || state !== 'equal')
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
  return [
    overallText(difference).map((line) => wrapped(line, look.width, '  ')),
    body.length > 0 ? [fitted(columns, body, look.width)] : [],
    layersText(difference.layers, look),
  ]
    .filter((lines) => lines.length > 0)
    .map((lines) => lines.join('\n'))
    .join('\n\n')
}
