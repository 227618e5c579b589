/** The table of tensors. Only one page of rows is in the document at a time, so that 50,000 rows cost no more than 100. */
import { grouped } from '../numbers.js'
import type { PageData } from '../pageData.js'
import { badge, detail, sourcesOf } from './detail.js'
import { byId, make } from './dom.js'
import { DEFAULT, type Filter, ORDERS, passes, searcher } from './filter.js'
import type { Row } from './rows.js'

const PAGE = 100

function line(data: PageData, row: Row): HTMLElement {
  const name = make('button', 'name mono', row.name)
  name.type = 'button'
  name.setAttribute('aria-expanded', 'false')
  const how = make('td', 'how', sourcesOf(data, row.merge))
  if (row.reason) how.append(make('span', 'reason', row.reason.text))
  if (row.absent.length > 0)
    how.append(make('span', 'reason', `without ${row.absent.map(({ model }) => model).join(', ')}`))
  const element = make(
    'tr',
    '',
    make('td', 'first', name),
    make('td', '', badge(data, row.merge.m)),
    how,
    make('td', '', row.dtype),
    make('td', 'number mono', row.shape.join(' × ') || 'scalar'),
    make('td', 'number', grouped(row.elements)),
  )
  name.addEventListener('click', () => {
    const open = name.getAttribute('aria-expanded') === 'true'
    name.setAttribute('aria-expanded', String(!open))
    if (open) element.nextElementSibling?.remove()
    else element.after(detail(data, row))
  })
  return element
}

/** Shows what a filter selects. A wrong search expression selects nothing, and the page says so. */
export class Table {
  private shown: readonly Row[] = []

  constructor(
    private readonly data: PageData,
    private readonly rows: readonly Row[],
  ) {}

  show(filter: Filter): void {
    const wanted = searcher(filter.search)
    const wrong = typeof wanted === 'string'
    const search = byId<HTMLInputElement>('search')
    search.classList.toggle('wrong', wrong)
    search.setAttribute('aria-invalid', String(wrong))
    byId('wrong').textContent = wrong ? `This is not a regular expression. ${wanted}` : ''
    const passed = passes(this.data, filter)
    const found = wrong ? [] : this.rows.filter((row) => passed(row) && wanted(row))
    const order = Object.hasOwn(ORDERS, filter.sort) ? ORDERS[filter.sort]! : ORDERS.name!
    if (order !== ORDERS.name || filter.down)
      found.sort((a, b) => (filter.down ? order(b, a) : order(a, b)) || a.index - b.index)
    this.shown = found
    for (const head of document.querySelectorAll<HTMLElement>('th[data-sort]')) {
      const own = head.dataset.sort === filter.sort
      head.setAttribute('aria-sort', !own ? 'none' : filter.down ? 'descending' : 'ascending')
    }
    this.draw(filter)
  }

  /** How many pages there are. */
  get pages(): number {
    return Math.max(1, Math.ceil(this.shown.length / PAGE))
  }

  private draw(filter: Filter): void {
    const page = Math.min(filter.page, this.pages - 1)
    const from = page * PAGE
    byId('rows').replaceChildren(...this.shown.slice(from, from + PAGE).map((row) => line(this.data, row)))
    const all = grouped(this.rows.length)
    const isFiltered = (['search', 'method', 'which', 'rule'] as const).some((key) => filter[key] !== DEFAULT[key])
    byId('count').textContent = isFiltered ? `${grouped(this.shown.length)} of ${all} tensors` : `${all} tensors`
    byId('page').textContent = `page ${grouped(page + 1)} of ${grouped(this.pages)}`
    byId('clear').hidden = !isFiltered
    byId<HTMLButtonElement>('before').disabled = page === 0
    byId<HTMLButtonElement>('after').disabled = page >= this.pages - 1
  }
}
