/** Charts of weights by layer: one chart for all name patterns with the same values. */
import { plural } from '../../../core/words.js'
import { stacksOf } from '../../../networks/layerNames.js'
import { sortedKeys } from '../../serialize.js'
import type { Lineage, LineageTensor } from '../../types.js'
import { escapeHtml, short } from './html.js'

interface Series {
  readonly label: string
  /** A model or step, which has its own colour; otherwise a parameter. */
  readonly source: boolean
  readonly values: ReadonlyMap<number, number>
}

interface Group {
  readonly patterns: string[]
  tensors: number
  readonly methods: readonly string[]
  readonly series: readonly Series[]
}

/** Charts on a page. Those of the most tensors come first. */
const MOST_CHARTS = 24
/** Layers of a chart. */
const MOST_LAYERS = 1000
/** Rows of a chart. */
const MOST_SERIES = 16
const SHOWN_PATTERNS = 8

/** The values of one tensor to draw: its weights, or its numeric parameters if the method has no weights. */
function valuesOf(tensor: LineageTensor): (readonly [label: string, value: number, source: boolean])[] {
  const weights = tensor.sources.flatMap(({ model, weight }) =>
    weight === null ? [] : [[model, weight, true] as const],
  )
  if (weights.length > 0) return weights
  return sortedKeys(tensor.parameters).flatMap((key) => {
    const value = tensor.parameters[key]
    return typeof value === 'number' ? [[key, value, false] as const] : []
  })
}

/** `model.layers.3.mlp.weight` → `model.layers.*.mlp.weight`. */
const patternOf = (name: string): string => name.replace(/(^|\.)\d+(?=\.|$)/, '$1*')

function groups(lineage: Lineage): Group[] {
  const patterns = new Map<
    string,
    { methods: Set<string>; tensors: number; series: Map<string, [boolean, Map<number, number>]> }
  >()
  const { of } = stacksOf(Object.keys(lineage.tensors))
  for (const name of sortedKeys(lineage.tensors)) {
    const tensor = lineage.tensors[name]!
    const layer = of(name)?.layer
    const values = tensor.reason === undefined && layer !== undefined ? valuesOf(tensor) : []
    if (layer === undefined || layer >= MOST_LAYERS || values.length === 0) continue
    const pattern = patternOf(name)
    const entry = patterns.get(pattern) ?? { methods: new Set(), tensors: 0, series: new Map() }
    patterns.set(pattern, entry)
    entry.methods.add(tensor.method)
    entry.tensors++
    for (const [label, value, source] of values) {
      const key = `${source} ${label}`
      const line = entry.series.get(key) ?? [source, new Map<number, number>()]
      entry.series.set(key, line)
      line[1].set(layer, value)
    }
  }
  const same = new Map<string, Group>()
  for (const [pattern, { methods, tensors, series }] of patterns) {
    const lines = [...series]
      .slice(0, MOST_SERIES)
      .map(([key, [source, values]]) => ({ label: key.slice(key.indexOf(' ') + 1), source, values }))
    const key = JSON.stringify([
      [...methods],
      lines.map(({ label, values }) => [label, [...values].sort(([a], [b]) => a - b)]),
    ])
    const before = same.get(key)
    if (before) {
      before.patterns.push(pattern)
      before.tensors += tensors
    } else same.set(key, { patterns: [pattern], tensors, methods: [...methods], series: lines })
  }
  return [...same.values()].sort((a, b) => b.tensors - a.tensors)
}

const LEFT = 130
const WIDTH = 720
const ROW = 46

function drawing({ series }: Group, colourOf: (name: string) => number): string {
  const layers = Math.max(...series.flatMap(({ values }) => [...values.keys()])) + 1
  const all = series.flatMap(({ values }) => [...values.values()])
  const [low, high] = [Math.min(0, ...all), Math.max(0, ...all)]
  const span = high - low || 1
  const pitch = (WIDTH - LEFT - 10) / layers
  const inner = ROW - 14
  const rows = series.map(({ label, source, values }, row) => {
    const top = row * ROW + 8
    const y = (value: number): number => top + ((high - value) / span) * inner
    const bars = [...values].map(([layer, value]) => {
      const [upper, lower] = [y(Math.max(0, value)), y(Math.min(0, value))]
      const box = `x="${short(LEFT + layer * pitch)}" y="${short(upper)}" width="${short(Math.max(0.5, pitch * 0.82))}" height="${short(Math.max(1, lower - upper))}"`
      return `<rect class="${source ? `f${colourOf(label)}` : 'fp'}" ${box}><title>${escapeHtml(label)}, layer ${layer}: ${short(value)}</title></rect>`
    })
    const shown = label.length > 18 ? `${label.slice(0, 17)}…` : label
    return `<text x="0" y="${short(top + inner / 2 + 4)}">${escapeHtml(shown)}</text><text class="tick" x="${LEFT - 6}" y="${top + 5}">${short(high)}</text><text class="tick" x="${LEFT - 6}" y="${short(top + inner + 3)}">${short(low)}</text><line x1="${LEFT}" x2="${WIDTH}" y1="${short(y(0))}" y2="${short(y(0))}"/>${bars.join('')}`
  })
  const every = Math.ceil(layers / 16)
  const ticks = Array.from({ length: layers }, (_, layer) => layer)
    .filter((layer) => layer % every === 0)
    .map(
      (layer) =>
        `<text class="layer" x="${short(LEFT + (layer + 0.41) * pitch)}" y="${series.length * ROW + 12}">${layer}</text>`,
    )
  return `<svg viewBox="0 0 ${WIDTH} ${series.length * ROW + 18}" role="img" aria-label="values by layer">${rows.join('')}${ticks.join('')}</svg>`
}

/** The section's content as HTML; empty if no tensor is in a layer. `colourOf`: the colour number of a model or step. */
export function charts(lineage: Lineage, colourOf: (name: string) => number): string {
  const all = groups(lineage)
  const shown = all.slice(0, MOST_CHARTS).map((group) => {
    const names = group.patterns.slice(0, SHOWN_PATTERNS).map((pattern) => `<code>${escapeHtml(pattern)}</code>`)
    const more =
      group.patterns.length > SHOWN_PATTERNS
        ? ` and ${plural(group.patterns.length - SHOWN_PATTERNS, 'more pattern')}`
        : ''
    const heading = `<b>${group.methods.map(escapeHtml).join(', ')}</b> · ${plural(group.tensors, 'tensor')}`
    return `<figure>${drawing(group, colourOf)}<figcaption>${heading}<br>${names.join(' ')}${more}</figcaption></figure>`
  })
  const rest =
    all.length > MOST_CHARTS
      ? `<p>The table below also has ${plural(all.length - MOST_CHARTS, 'more group')} of tensors.</p>`
      : ''
  return shown.join('') + rest
}
