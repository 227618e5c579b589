/** Heat maps by layer and module: how each tensor was made, and every weight and parameter that differs. */
import { COPY_REASONS } from '../../../../core/reasons.js'
import { plural } from '../../../../core/words.js'
import type { Lineage, LineageTensor } from '../../../types.js'
import type { Colours } from '../data.js'
import { type Grid, gridsOf } from '../drawing/grid.js'
import { type Cell, type CellOf, heatMap } from '../drawing/heat.js'
import { constantOf, type Quantities, type Quantity } from '../drawing/quantities.js'
import { beside, type Size } from '../drawing/svg.js'
import { escapeHtml, filterAddress, isCopied, tally } from '../html.js'
import { grouped, short } from '../numbers.js'
import { COLOUR_COUNT } from '../pageData.js'

/** Heat maps of weights and parameters on a page. */
const MOST_MAPS = 24

const figure = (caption: string, maps: string): string =>
  maps === '' ? '' : `<figure><figcaption>${caption}</figcaption>${maps}</figure>`

const titled = (grid: Grid, map: string): string =>
  map === ''
    ? ''
    : `<div class="map"><p class="soft">${grid.prefix === undefined ? 'outside of layers' : `layers of <code>${escapeHtml(grid.prefix === '' ? 'the model' : grid.prefix)}</code>`}</p>${map}</div>`

/** Stacks with more layers are drawn large. */
const SMALL_DEPTH = 24

function maps(grids: readonly Grid[], label: string, cellOf: CellOf, size: Size): string {
  const longest = grids
    .flatMap(({ modules }) => modules)
    .reduce((most, module) => Math.max(most, module.label.length), 0)
  return grids.map((grid) => titled(grid, heatMap(grid, label, cellOf, longest, size))).join('')
}

const howText = (tensor: LineageTensor): string =>
  isCopied(tensor) && tensor.reason !== undefined ? `copied: ${COPY_REASONS[tensor.reason]}` : tensor.method

/** The method of most tensors of a cell, and what was copied. */
function howCell(lineage: Lineage, colours: Colours): CellOf {
  return (names) => {
    const tensors = names.map((name) => lineage.tensors[name]!)
    const methods = tally(tensors, howText)
    const first = tensors.find((tensor) => howText(tensor) === methods[0]![0])!
    const skipped = [...new Set(tensors.flatMap(({ absent = [] }) => absent.map(({ model }) => model)))]
    const counts = methods.map(([what, count]) => (names.length > 1 ? `${what}, ${plural(count, 'tensor')}` : what))
    return {
      colour: `c${colours.ofMethod(first.method)}${skipped.length > 0 ? ' skipped' : ''}`,
      strength: isCopied(first) ? 0.35 : 0.85,
      value: '',
      title: `${counts.join('; ')}${skipped.length > 0 ? `; without ${skipped.join(', ')}` : ''}`,
    }
  }
}

/** The model or step that a copied tensor comes from. */
const copiedFrom = ({ method, sources }: LineageTensor): string | undefined =>
  method === 'copy' ? sources[0]?.model : undefined

/** Where copies come from, if not all are from one model: what a stack looks like. */
function copiesMap(lineage: Lineage, colours: Colours, draw: (label: string, cellOf: CellOf) => string): string[] {
  const all = tally(Object.values(lineage.tensors), (tensor) => copiedFrom(tensor) ?? '').filter(
    ([name]) => name !== '',
  )
  if (all.length < 2) return []
  const keys = all.map(
    ([name, count]) => `<span class="key c${colours.ofName(name)}">${escapeHtml(name)} ${grouped(count)}</span>`,
  )
  const cellOf: CellOf = (names) => {
    const found = names.flatMap((name) => {
      const tensor = lineage.tensors[name]!
      const model = copiedFrom(tensor)
      return model === undefined ? [] : [{ model, tensor: tensor.sources[0]!.tensor }]
    })
    const [first] = tally(found, ({ model }) => model)
    if (!first) return undefined
    const one = found.length === 1 ? `, ${found[0]!.tensor}` : `, ${plural(first[1], 'tensor')}`
    return { colour: `c${colours.ofName(first[0])}`, strength: 0.85, value: '', title: `from ${first[0]}${one}` }
  }
  return [
    figure(
      `<b>Where copies come from</b><p class="legend">${keys.join(' ')}</p>`,
      draw('where copies come from, by layer and module', cellOf),
    ),
  ]
}

/** The mean of a cell's values, by their size against the largest one. */
function valueCell({ values }: Quantity, most: number): CellOf {
  return (names) => {
    const found = names.flatMap((name) => values.get(name) ?? [])
    if (found.length === 0) return undefined
    const mean = found.reduce((sum, value) => sum + value, 0) / found.length
    const [low, high] = [Math.min(...found), Math.max(...found)]
    const text = low === high ? short(low) : `${short(low)} to ${short(high)}`
    return {
      colour: mean < 0 ? 'below' : 'above',
      strength: most > 0 ? Math.min(1, Math.abs(mean) / most) : 0,
      value: short(Number(mean.toPrecision(3))),
      title: found.length > 1 ? `${text}, ${plural(found.length, 'tensor')}` : text,
    } satisfies Cell
  }
}

function legendOf(lineage: Lineage, colours: Colours): string {
  const tensors = Object.values(lineage.tensors)
  const methods = tally(
    tensors.filter((tensor) => !isCopied(tensor)),
    ({ method }) => method,
  )
  const copies = tally(
    tensors.filter((tensor) => isCopied(tensor) && tensor.reason !== undefined),
    ({ reason }) => reason!,
  )
  const key = (
    colour: number,
    text: string,
    count: number,
    filter: Readonly<Record<string, string>>,
    pale = '',
  ): string =>
    `<a class="key c${colour}${pale}" href="${filterAddress(filter)}">${escapeHtml(text)} ${grouped(count)}</a>`
  return `<p class="legend">${[
    ...methods.map(([method, count]) => key(colours.ofMethod(method), method, count, { method })),
    ...copies.map(([reason, count]) =>
      key(
        COLOUR_COUNT,
        `copied: ${COPY_REASONS[reason as keyof typeof COPY_REASONS]}`,
        count,
        { which: reason },
        ' pale',
      ),
    ),
  ].join(' ')}</p>`
}

export const nameOf = ({ kind, name }: Pick<Quantity, 'kind' | 'name'>): string =>
  kind === 'weight' ? `weight of ${name}` : name

/** Quantities with one value everywhere, as text. */
export function constants(quantities: readonly Quantity[]): string {
  const same = quantities.flatMap((quantity) => {
    const value = constantOf(quantity)
    return value === undefined ? [] : [{ ...quantity, value }]
  })
  if (same.length === 0) return ''
  const steps = new Set(quantities.map(({ step }) => step))
  const items = same.map(({ step, value, ...quantity }) => {
    const where = steps.size > 1 ? `<span class="soft">${escapeHtml(step)}:</span> ` : ''
    return `<li>${where}${escapeHtml(nameOf(quantity))} <b>${short(value)}</b></li>`
  })
  return `<p>The same in every tensor:</p><ul class="chips">${items.join('')}</ul>`
}

/** The section's content as HTML. */
export function layers(lineage: Lineage, colours: Colours, { numbers }: Quantities): string {
  const grids = gridsOf(Object.keys(lineage.tensors))
  const varied = numbers.filter((quantity) => constantOf(quantity) === undefined)
  // A single map has the whole width.
  const size = varied.length === 0 || grids.some(({ depth }) => depth > SMALL_DEPTH) ? 'large' : 'small'
  const steps = new Set(varied.map(({ step }) => step))
  const largest = (step: string, kind: Quantity['kind'], name: string): number =>
    varied
      // Weights of one step share a scale, so that they can be compared. Parameters have their own.
      .filter((other) => other.step === step && other.kind === kind && (kind === 'weight' || other.name === name))
      .reduce(
        (most, { values }) => [...values.values()].reduce((sum, value) => Math.max(sum, Math.abs(value)), most),
        0,
      )
  const drawn = varied.slice(0, MOST_MAPS).map((quantity) => {
    const title = `${steps.size > 1 ? `${quantity.step}: ` : ''}${nameOf(quantity)}`
    return figure(
      `<b>${escapeHtml(title)}</b>`,
      maps(
        grids,
        `${title} by layer and module`,
        valueCell(quantity, largest(quantity.step, quantity.kind, quantity.name)),
        size,
      ),
    )
  })
  const more = varied.length - drawn.length
  const how = figure(
    `<b>How each tensor was made</b>${legendOf(lineage, colours)}`,
    maps(grids, 'how each tensor was made, by layer and module', howCell(lineage, colours), size),
  )
  const copied = copiesMap(lineage, colours, (label, cellOf) => maps(grids, label, cellOf, size))
  const figures = [how, ...copied, ...drawn]
  return `${size === 'small' ? beside(figures) : figures.join('')}${more > 0 ? `<p>The table of tensors has ${plural(more, 'more weight or parameter', 'more weights and parameters')}.</p>` : ''}${constants(numbers.filter(({ kind }) => kind === 'weight'))}`
}
