/** Parameters and weights by layer, as lines: one line for all modules with the same values. */
import { naturalOrder } from '../../../../core/collections/naturalOrder.js'
import { plural } from '../../../../core/words.js'
import { stacksOf, withLayer } from '../../../../networks/layerNames.js'
import type { Lineage } from '../../../types.js'
import { type Line, legend, lineChart } from '../drawing/lineChart.js'
import { constantOf, type Quantities, type Quantity } from '../drawing/quantities.js'
import { beside } from '../drawing/svg.js'
import { escapeHtml } from '../html.js'
import { COLOUR_COUNT } from '../pageData.js'
import { constants, nameOf } from './layers.js'

/** Charts on a page, lines of a chart, and names in a legend. */
const MOST_CHARTS = 24
const MOST_LINES = 8
const MOST_NAMES = 3

/** `model.layers.3.mlp.weight` → `mlp.weight`. */
const moduleOf = (name: string, prefix: string): string =>
  withLayer(name, '*').slice(prefix === '' ? 2 : prefix.length + 3)

interface Curve {
  readonly names: string[]
  readonly points: Line['points']
}

/** Lines of a quantity: modules whose values agree in every layer share one. */
function curvesOf({ values }: Quantity, of: ReturnType<typeof stacksOf>['of']): Curve[] {
  const modules = new Map<string, Map<number, number>>()
  for (const [name, value] of values) {
    const site = of(name)
    if (!site) continue
    const module = moduleOf(name, site.stack.prefix)
    const layers = modules.get(module) ?? new Map<number, number>()
    modules.set(module, layers)
    layers.set(site.layer, value)
  }
  const same = new Map<string, Curve>()
  for (const [module, layers] of [...modules].sort(([a], [b]) => naturalOrder(a, b))) {
    const points = [...layers].sort(([a], [b]) => a - b).map(([x, y]) => ({ x, y }))
    const key = JSON.stringify(points)
    const known = same.get(key)
    if (known) known.names.push(module)
    else same.set(key, { names: [module], points })
  }
  return [...same.values()].sort((a, b) => b.names.length - a.names.length)
}

const labelOf = ({ names }: Curve): string =>
  names.length > MOST_NAMES
    ? `${names.slice(0, MOST_NAMES - 1).join(', ')} and ${plural(names.length - MOST_NAMES + 1, 'more module')}`
    : names.join(', ')

/** The section's content as HTML; empty if nothing differs between layers. */
export function parameters(lineage: Lineage, { numbers, settings }: Quantities): string {
  const { of } = stacksOf(Object.keys(lineage.tensors))
  const steps = new Set(numbers.map(({ step }) => step))
  const charts = numbers.flatMap((quantity) => {
    if (constantOf(quantity) !== undefined) return []
    const curves = curvesOf(quantity, of)
    if (!curves.some(({ points }) => points.length > 1)) return []
    const title = `${steps.size > 1 ? `${quantity.step}: ` : ''}${nameOf(quantity)}`
    const lines = curves
      .slice(0, MOST_LINES)
      .map((curve, index) => ({ label: labelOf(curve), colour: index % COLOUR_COUNT, points: curve.points }))
    const more = curves.length - lines.length
    const rest = more > 0 ? `<p class="soft">The table of tensors has ${plural(more, 'more line')}.</p>` : ''
    return [
      `<figure><figcaption><b>${escapeHtml(title)}</b>${legend(lines)}</figcaption>${lineChart({ label: `${title} by layer`, axis: 'layer', lines, integers: true }, 'small')}${rest}</figure>`,
    ]
  })
  const more = charts.length - MOST_CHARTS
  const rest =
    more > 0
      ? `<p>The table of tensors has ${plural(more, 'more weight or parameter', 'more weights and parameters')}.</p>`
      : ''
  const words = settings.map(({ step, method, name, values }) => {
    const shown = [...values].slice(0, 8).map((value) => `<b>${escapeHtml(value)}</b>`)
    return `<li><span class="soft">${escapeHtml(steps.size > 1 ? `${step}, ${method}` : method)}:</span> ${escapeHtml(name)} ${shown.join(' or ')}</li>`
  })
  const list = words.length === 0 ? '' : `<ul class="chips">${words.join('')}</ul>`
  const same = constants(numbers.filter(({ kind }) => kind === 'parameter'))
  return `${beside(charts.slice(0, MOST_CHARTS))}${rest}${same}${list}`
}
