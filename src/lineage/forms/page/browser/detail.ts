/** How one tensor was made: its sources, their weights, and the steps on the way. */
import { grouped, roundedJson, short, visible } from '../numbers.js'
import { COLOUR_COUNT, type MergeData, type PageData, type SourceData } from '../pageData.js'
import { link, make } from './dom.js'
import { addressOf, DEFAULT } from './filter.js'
import type { Row, Store } from './rows.js'

/** Sources that a row names; its details have all of them. */
const MOST_SOURCES = 6

export const badge = (data: PageData, method: number): HTMLElement =>
  make('span', `badge c${data.methodColours[method] ?? COLOUR_COUNT}`, data.methods[method]!)

const colourOf = (data: PageData, name: number): string => `c${data.nameColours[name] ?? 0}`

/** A bar of the weights, and the sources' names. */
export function sourcesOf(data: PageData, [, , sources]: MergeData): HTMLElement {
  const cell = make('span', 'sources')
  const weights = sources.flatMap(([name, , weight]) => (typeof weight === 'number' ? [{ name, weight }] : []))
  const total = weights.reduce((sum, { weight }) => sum + Math.abs(weight), 0)
  if (total > 0 && weights.length > 1) {
    const track = make('span', 'track')
    for (const { name, weight } of weights) {
      const part = make('span', `back ${colourOf(data, name)}${weight < 0 ? ' negative' : ''}`)
      part.style.width = `${(100 * Math.abs(weight)) / total}%`
      part.title = visible(`${data.names[name]}: ${weight}`)
      track.append(part)
    }
    cell.append(track)
  }
  for (const [name, , weight] of sources.slice(0, MOST_SOURCES)) {
    cell.append(make('span', `under ${colourOf(data, name)}`, data.names[name]!))
    cell.append(typeof weight === 'number' ? ` ${short(weight)} ` : ' ')
  }
  if (sources.length > MOST_SOURCES) cell.append(`and ${sources.length - MOST_SOURCES} more`)
  return cell
}

function tree(store: Store, merge: MergeData, row: Row): HTMLElement {
  const { data } = store
  const [method, , sources, base, cropped, parts] = merge
  const list = make('ul', 'tree')
  const parameters = store.parametersOf(merge).map(([key, value]) => `${key} = ${roundedJson(value)}`)
  list.append(make('li', '', badge(data, method), ` ${parameters.join(', ')}`))
  const named = (name: number, tensor: string | 0, role: string): HTMLElement => {
    const item = make('li', '', make('b', `under ${colourOf(data, name)}`, data.names[name]!))
    item.append(`${role} · ${visible(tensor === 0 ? row.name : tensor)}`)
    return item
  }
  const entry = ([name, tensor = 0, weight = null, making = -1]: SourceData, role: string): HTMLElement => {
    const item = named(name, tensor, role)
    if (weight !== null) item.append(` · weight ${short(weight)}`)
    if (making >= 0) item.append(tree(store, store.merge(making), row))
    return item
  }
  if (base) list.append(entry(base, ' (base)'))
  for (const source of sources) list.append(entry(source, ''))
  for (const [name, tensor, making] of parts || []) {
    const item = named(name, tensor, '')
    item.append(' was made from', tree(store, store.merge(making), row))
    list.append(item)
  }
  if (cropped) {
    const { rows, models } = cropped
    const why = `only the first ${grouped(rows)} rows are merged, because of other sizes in ${models.join(', ')}; the others are copied from the base`
    list.append(make('li', '', why))
  }
  return list
}

/** Everything about a row, for the cell below it. */
export function detail(store: Store, row: Row): HTMLElement {
  const cell = make('td')
  cell.colSpan = 6
  cell.append(tree(store, store.merge(row.merge), row))
  if (row.reason) {
    const all = addressOf({ ...DEFAULT, which: row.reason.code })
    cell.append(make('p', '', 'copied: ', link(all, row.reason.text), ' · ', link('#copies', 'why')))
  }
  for (const rule of row.rules) {
    const { step, number, id } = store.data.rules[rule]!
    cell.append(make('p', '', 'by ', link(`#${id}`, `rule ${number} of ${step}`)))
  }
  for (const { model, reason } of row.absent) cell.append(make('p', '', `skipped ${model}, which ${reason}`))
  for (const note of row.notes) cell.append(make('p', '', note))
  if (row.nonFinite > 0) cell.append(make('p', '', `${grouped(row.nonFinite)} elements are NaN or infinite`))
  cell.append(make('p', 'mono', row.digest ?? 'no digest'))
  return make('tr', 'detail', cell)
}
