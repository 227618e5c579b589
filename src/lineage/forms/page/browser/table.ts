/** The table of tensors. Only one page of rows is in the document at a time, so that 50,000 rows cost no more than 100. */
import { grouped } from '../numbers.js'
import { badge, detail, sourcesOf } from './detail.js'
import { byId, make } from './dom.js'
import { DEFAULT, type Filter, orderOf, passes, searcher } from './filter.js'
import type { Row, Store } from './rows.js'

const PAGE = 100

function line(store: Store, row: Row): HTMLElement {
  const { data } = store
  const name = make('button', 'name mono', row.name)
  name.type = 'button'
  name.setAttribute('aria-expanded', 'false')
  const how = make('td', 'how', sourcesOf(data, store.merge(row.merge)))
  if (row.reason) how.append(make('span', 'reason', row.reason.text))
  if (row.absent.length > 0)
    how.append(make('span', 'reason', `without ${row.absent.map(({ model }) => model).join(', ')}`))
  const element = make(
    'tr',
    '',
    make('td', 'first', name),
    make('td', '', badge(data, row.method)),
    how,
    make('td', '', row.dtype),
    make('td', 'number mono', row.shape.join(' × ') || 'scalar'),
    make('td', 'number', grouped(row.elements)),
  )
  name.addEventListener('click', () => {
    const open = name.getAttribute('aria-expanded') === 'true'
    name.setAttribute('aria-expanded', String(!open))
    if (open) element.nextElementSibling?.remove()
    else element.after(detail(store, row))
  })
  return element
}

/** Shows what a filter selects. A wrong search expression selects nothing, and the page says so. */
export class Table {
  private shown: readonly Row[] = []

  constructor(private readonly store: Store) {}

  show(filter: Filter): void {
    const wanted = searcher(filter.search)
    const wrong = typeof wanted === 'string'
    const search = byId<HTMLInputElement>('search')
    search.classList.toggle('wrong', wrong)
    search.setAttribute('aria-invalid', String(wrong))
    byId('wrong').textContent = wrong ? `This is not a regular expression. ${wanted}` : ''
    const passed = passes(this.store.data, filter)
    const found = wrong ? [] : this.store.rows.filter((row) => passed(row) && wanted(row))
    const order = orderOf(this.store, filter.sort)
    if (order) found.sort((a, b) => (filter.down ? order(b, a) : order(a, b)) || a.index - b.index)
    else if (filter.down) found.reverse()
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
    byId('rows').replaceChildren(...this.shown.slice(from, from + PAGE).map((row) => line(this.store, row)))
    const all = grouped(this.store.rows.length)
    const isFiltered = (['search', 'method', 'which', 'rule'] as const).some((key) => filter[key] !== DEFAULT[key])
    byId('count').textContent = isFiltered ? `${grouped(this.shown.length)} of ${all} tensors` : `${all} tensors`
    byId('page').textContent = `page ${grouped(page + 1)} of ${grouped(this.pages)}`
    byId('clear').hidden = !isFiltered
    byId<HTMLButtonElement>('before').disabled = page === 0
    byId<HTMLButtonElement>('after').disabled = page >= this.pages - 1
  }
}
