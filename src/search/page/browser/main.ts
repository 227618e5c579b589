/** The page's script: sorts, filters and pages the table of trials, and marks the lines of trials. */
import { agree } from '../../../core/words.js'
import { byId, make } from '../../../lineage/forms/page/browser/dom.js'
import { grouped, short } from '../../../lineage/forms/page/numbers.js'
import type { CellData, RowData, TrialsData } from '../trialsData.js'

const PAGE = 100
const STATE = 1

const { columns, rows } = JSON.parse(byId('data').textContent!) as TrialsData
const which = byId<HTMLSelectElement>('which')
const [before, after] = [byId<HTMLButtonElement>('before'), byId<HTMLButtonElement>('after')]
/** Lines by trial: one for wide and one for narrow screens. */
const lines = new Map<number, SVGPathElement[]>()
for (const line of document.querySelectorAll<SVGPathElement>('[data-trial]')) {
  const trial = Number(line.dataset.trial)
  lines.set(trial, [...(lines.get(trial) ?? []), line])
}
const marked = new Set<number>()
let sort = 0
let down = false
let page = 0

function mark(index: number, on: boolean): void {
  if (on) marked.add(index)
  else marked.delete(index)
  for (const line of lines.get(index) ?? []) {
    line.classList.toggle('marked', on)
    // On top of the others.
    if (on) line.parentElement!.append(line)
  }
}

const isShown = ({ failed, rank }: RowData): boolean =>
  which.value === 'all' || (which.value === 'failed' ? failed : !failed && rank < Number(which.value))

/** What is missing comes last, either way. */
function compare(a: CellData, b: CellData): number {
  if (a === null || b === null) return Number(a === null) - Number(b === null)
  const order = typeof a === 'number' && typeof b === 'number' ? a - b : String(a) < String(b) ? -1 : Number(a !== b)
  return down ? -order : order
}

const textOf = (cell: CellData): string => (cell === null ? '–' : typeof cell === 'number' ? short(cell) : cell)

function line(row: RowData): HTMLElement {
  const element = make('tr', row.cells[STATE] === 'best' ? 'is-best' : '')
  for (const [index, cell] of row.cells.entries()) {
    const { title, number } = columns[index]!
    const inside = make('div', index === STATE && row.failed ? 'wrong' : '')
    if (index === 0) {
      const name = make('button', 'name', textOf(cell))
      name.type = 'button'
      name.title = 'mark its line'
      name.setAttribute('aria-label', `mark the line of trial ${textOf(cell)}`)
      name.setAttribute('aria-pressed', String(marked.has(row.index)))
      name.addEventListener('click', () => {
        mark(row.index, !marked.has(row.index))
        name.setAttribute('aria-pressed', String(marked.has(row.index)))
        byId('clear').hidden = marked.size === 0
      })
      inside.append(name)
    } else inside.append(make('span', '', textOf(cell)))
    const data = make('td', index === STATE ? 'state' : number ? 'number' : '', inside)
    if (typeof cell === 'number' && String(cell) !== textOf(cell)) data.title = String(cell)
    data.dataset.label = title
    element.append(data)
  }
  return element
}

function draw(): void {
  const found = rows.filter(isShown).sort((a, b) => compare(a.cells[sort]!, b.cells[sort]!) || a.index - b.index)
  const pages = Math.max(1, Math.ceil(found.length / PAGE))
  page = Math.max(0, Math.min(page, pages - 1))
  byId('rows').replaceChildren(...found.slice(page * PAGE, (page + 1) * PAGE).map(line))
  const all = grouped(rows.length)
  byId('count').textContent =
    found.length === rows.length
      ? `${all} ${agree(rows.length, 'trial', 'trials')}`
      : `${grouped(found.length)} of ${all} ${agree(rows.length, 'trial', 'trials')}`
  byId('page').textContent = `page ${page + 1} of ${pages}`
  before.disabled = page === 0
  after.disabled = page >= pages - 1
  byId('clear').hidden = marked.size === 0
  for (const head of document.querySelectorAll<HTMLElement>('th[data-sort]')) {
    const own = Number(head.dataset.sort) === sort
    head.setAttribute('aria-sort', !own ? 'none' : down ? 'descending' : 'ascending')
  }
}

which.addEventListener('input', () => {
  page = 0
  for (const row of rows) for (const one of lines.get(row.index) ?? []) one.classList.toggle('hidden', !isShown(row))
  draw()
})
for (const head of document.querySelectorAll<HTMLElement>('th[data-sort]'))
  head.querySelector('button')!.addEventListener('click', () => {
    const own = Number(head.dataset.sort)
    down = sort === own && !down
    sort = own
    page = 0
    draw()
  })
before.addEventListener('click', () => {
  page--
  draw()
})
after.addEventListener('click', () => {
  page++
  draw()
})
byId('clear').addEventListener('click', () => {
  for (const index of [...marked]) mark(index, false)
  draw()
  which.focus()
})

draw()
