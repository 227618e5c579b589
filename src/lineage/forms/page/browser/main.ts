/** The page's script: searches, sorts and pages the table of tensors, and follows links to it. */
import type { PageData } from '../pageData.js'
import { byId } from './dom.js'
import { addressOf, DEFAULT, type Filter, readAddress } from './filter.js'
import { Store } from './rows.js'
import { Table } from './table.js'

const data = JSON.parse(byId('data').textContent!) as PageData
const table = new Table(new Store(data))
let filter: Filter = readAddress(location.hash) ?? { ...DEFAULT }

const FIELDS = ['search', 'method', 'which', 'rule'] as const
const field = (id: (typeof FIELDS)[number]) => byId<HTMLInputElement | HTMLSelectElement>(id)

/** Shows the filter in the fields and in the table. A value that a list lacks is none of its choices. */
function show(): void {
  for (const id of FIELDS) {
    field(id).value = filter[id]
    if (field(id).value !== filter[id]) filter[id] = field(id).value
  }
  table.show(filter)
}

/** Changes the filter, the table and the address. */
function change(changes: Partial<Filter>): void {
  filter = { ...filter, page: 0, ...changes }
  table.show(filter)
  history.replaceState(null, '', addressOf(filter))
}

for (const id of FIELDS) field(id).addEventListener('input', () => change({ [id]: field(id).value }))
for (const head of document.querySelectorAll<HTMLElement>('th[data-sort]'))
  head.querySelector('button')!.addEventListener('click', () => {
    const sort = head.dataset.sort!
    change({ sort, down: filter.sort === sort && !filter.down })
  })
byId('before').addEventListener('click', () =>
  change({ page: Math.max(0, Math.min(filter.page, table.pages - 1) - 1) }),
)
byId('after').addEventListener('click', () => change({ page: Math.min(filter.page, table.pages - 1) + 1 }))
byId('clear').addEventListener('click', () => {
  filter = { ...DEFAULT }
  show()
  history.replaceState(null, '', addressOf(filter))
  byId('search').focus()
})

/** A link to the table, or a step back: the browser itself finds no element for an address with a filter. */
function follow(): void {
  const found = readAddress(location.hash)
  if (!found) return
  filter = found
  show()
  byId('tensors').scrollIntoView()
}
addEventListener('hashchange', follow)

show()
if (readAddress(location.hash)) byId('tensors').scrollIntoView()
