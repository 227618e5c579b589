/** Alignments: how similar the models became, and how the units of each group moved. */
import { plural } from '../../../../core/words.js'
import type { GroupRecord } from '../../../../steps/rebasin/types.js'
import type { Lineage } from '../../../types.js'
import { drawing } from '../drawing/svg.js'
import { card, code, escapeHtml, meter, table } from '../html.js'
import { grouped } from '../numbers.js'
import { stepId } from '../rules.js'

interface BeforeAndAfter {
  readonly before: number
  readonly after: number
}

/** Pictures per alignment, and units of a picture. */
const MOST_PICTURES = 48
const LARGEST_PICTURE = 512

const three = (value: number): string => value.toFixed(3)

const change = ({ before, after }: BeforeAndAfter): string =>
  `<span class="change"><span class="soft">${three(before)}</span> → <b>${three(after)}</b></span>${meter(after, 'fill above')}`

/** One dot per unit: its old place from left to right, its new one from top to bottom. A diagonal: nothing moved. */
function picture(name: string, order: readonly number[]): string {
  const size = order.length
  const dot = Math.max(1, size / 100)
  const dots = order.map((from, to) => `M${from} ${to}h${dot}v${dot}h-${dot}z`).join('')
  const moved = order.filter((from, to) => from !== to).length
  const label = `permutation of ${name}: ${moved} of ${plural(size, 'unit')} moved`
  const room = Math.ceil(dot)
  const inside = drawing(
    size + room,
    size + room,
    label,
    `<rect class="ground" width="${size + room}" height="${size + room}"/><path class="same" d="M0 0L${size} ${size}"/><path class="dots" d="${dots}"/>`,
  )
  return `<figure class="permutation">${inside}<figcaption>${code(name)}<br>${grouped(moved)} of ${grouped(size)} moved</figcaption></figure>`
}

const unitsOf = ({ size, inside }: GroupRecord, groups: Readonly<Record<string, GroupRecord>>): number =>
  inside === undefined ? size : size * (groups[inside]?.size ?? 1)

function groupTable(groups: Readonly<Record<string, GroupRecord>>): string {
  const entries = Object.entries(groups)
  const compared = entries.some(([, group]) => group.similarity)
  const heads = ['Group', 'Units', 'Moved', ...(compared ? ['Similarity'] : [])]
  const rows = entries.map(([name, group]) => {
    const units = unitsOf(group, groups)
    const inside = group.inside === undefined ? '' : ` <span class="soft">inside ${escapeHtml(group.inside)}</span>`
    return [
      code(name) + inside,
      { number: grouped(units) },
      `${grouped(group.moved)} <span class="soft">${units === 0 ? '' : `${((100 * group.moved) / units).toFixed(0)} %`}</span>${meter(units === 0 ? 0 : group.moved / units, 'fill c1')}`,
      ...(compared ? [group.similarity ? change(group.similarity) : '<span class="soft">–</span>'] : []),
    ]
  })
  return table(heads, rows)
}

const isPermutation = (order: readonly number[]): boolean =>
  order.length <= LARGEST_PICTURE && order.every((from) => Number.isInteger(from) && from >= 0 && from < order.length)

/** The section's content as HTML; empty without alignments. */
export function alignments(lineage: Lineage): string {
  const parts = Object.entries(lineage.steps).flatMap(([name, step], index) => {
    if (step.kind !== 'rebasin') return []
    const { model, onto, similarity, moved, rotation } = step
    const groups: Readonly<Record<string, GroupRecord>> = step.groups ?? {}
    const all = Object.values(groups).reduce((sum, group) => sum + unitsOf(group, groups), 0)
    const pictures = Object.entries(groups).flatMap(([group, { order }]) =>
      order && order.length > 1 && isPermutation(order) ? [picture(group, order)] : [],
    )
    const facts = [
      ...(similarity && onto !== undefined
        ? [card(`${three(similarity.before)} → ${three(similarity.after)}`, `cosine similarity to ${escapeHtml(onto)}`)]
        : []),
      ...(moved === undefined ? [] : [card(grouped(moved), `of ${grouped(all)} units moved`)]),
      ...(rotation
        ? [
            card(
              grouped(rotation.size),
              `dimensions of the residual stream ${rotation.permuted ? 'permuted' : 'rotated'}`,
            ),
          ]
        : []),
    ]
    const more = pictures.length - MOST_PICTURES
    const gallery =
      pictures.length === 0
        ? ''
        : `<p class="soft">Each picture has one dot per unit: from left to right its place before, from top to bottom its place after. Units on the line did not move.${more > 0 ? ` ${plural(more, 'more picture')} would be too many.` : ''}</p><div class="gallery">${pictures.slice(0, MOST_PICTURES).join('')}</div>`
    return [
      `<h3><a href="#${stepId(index)}">${escapeHtml(name)}</a>: ${escapeHtml(model)} ${onto === undefined ? 'permuted by files' : `aligned to ${escapeHtml(onto)}`}</h3><div class="cards">${facts.join('')}</div>${Object.keys(groups).length === 0 ? '' : groupTable(groups)}${gallery}`,
    ]
  })
  return parts.join('')
}
