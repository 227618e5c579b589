/** The head of the page: sizes, metrics, and the share of each method. */
import { elements } from '../../../../core/dtypes.js'
import { formatSize } from '../../../../core/sizes.js'
import { agree, plural } from '../../../../core/words.js'
import { seriesOf } from '../../../path/figures.js'
import type { PathSummary } from '../../../path/summary.js'
import type { Lineage, LineageFile } from '../../../types.js'
import type { Colours } from '../data.js'
import { card, escapeHtml, filterAddress, isCopied, tally } from '../html.js'
import { countText, grouped, short } from '../numbers.js'
import { deviationOf } from './curves.js'

export const bytesOf = (files: readonly LineageFile[]): number => files.reduce((sum, { size }) => sum + size, 0)

/** Metrics among the cards. The section of evaluations has all of them. */
const MOST_METRICS = 6

/** Barriers and drops along a path, by their names. */
const deviationsOf = (curve: PathSummary): [string, number][] =>
  seriesOf(curve.points).flatMap(({ figure }) => {
    const found = deviationOf(figure, curve)
    return found ? [[`${found.word} of ${figure}`, found.height] as [string, number]] : []
  })

function sizeCard({ output: { files, dropped } }: Lineage): string {
  return card(
    formatSize(bytesOf(files)),
    dropped ? 'evaluated, not kept' : `in ${plural(files.length, 'file')}`,
    '#files',
  )
}

/** `curve`: for the page of a whole path. */
export function summary(lineage: Lineage, colours: Colours, curve?: PathSummary): string {
  const tensors = Object.values(lineage.tensors)
  const copied = tensors.filter(isCopied).length
  const parameters = tensors.reduce((sum, { shape }) => sum + elements(shape), 0)
  const shares = tally(
    tensors,
    ({ method }) => method,
    ({ shape }) => elements(shape),
  )
  const models = Object.keys(lineage.models).length
  const metrics = curve ? deviationsOf(curve) : Object.entries(lineage.evaluations ?? {})
  const cards = [
    ...metrics
      .slice(0, MOST_METRICS)
      .map(([name, value]) => card(short(value), escapeHtml(name), '#evaluations', String(value))),
    card(grouped(tensors.length), agree(tensors.length, 'tensor', 'tensors'), '#tensors'),
    card(countText(parameters), 'parameters'),
    ...(curve ? [card(grouped(curve.points.length), 'points', '#evaluations')] : [sizeCard(lineage)]),
    card(grouped(tensors.length - copied), 'made', filterAddress({ which: 'merged' })),
    card(grouped(copied), 'copied', '#copies'),
    card(grouped(models), agree(models, 'model', 'models'), '#models'),
  ]
  let at = 0
  const percent = (count: number): number => (100 * count) / Math.max(1, parameters)
  const parts = shares.map(([method, count]) => {
    const width = percent(count)
    at += width
    return `<rect class="fill c${colours.ofMethod(method)}" x="${(at - width).toFixed(3)}" width="${width.toFixed(3)}" height="4"><title>${escapeHtml(method)}: ${width.toFixed(1)} % of the parameters</title></rect>`
  })
  const legend = shares.map(
    ([method, count]) =>
      `<a class="key c${colours.ofMethod(method)}" href="${filterAddress({ method })}">${escapeHtml(method)} ${percent(count).toFixed(1)} %</a>`,
  )
  return `<div class="cards">${cards.join('')}</div><svg class="share" viewBox="0 0 100 4" preserveAspectRatio="none" role="img" aria-label="share of parameters by method">${parts.join('')}</svg><p class="legend">${legend.join(' ')}</p>`
}
