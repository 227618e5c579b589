/**
 * The page's script. It searches, sorts and pages the table of tensors, so that 20,000 rows cost no more than 100. It inserts
 * everything from the lineage as text, never as HTML. Its data (`#data`) is `PageData` of `data.ts`.
 */
export const SCRIPT = `'use strict'
const data = JSON.parse(document.getElementById('data').textContent)
const PAGE = 100
const ABSENT = { missing: 'has no such tensor', shape: 'has another shape', dtype: 'has no floating-point dtype' }
const $ = (id) => document.getElementById(id)
const make = (tag, className, ...children) => {
  const node = document.createElement(tag)
  if (className) node.className = className
  node.append(...children)
  return node
}
const hidden = /[\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff]/g
const visible = (text) => String(text).replace(hidden, (c) => '\\\\u' + c.charCodeAt(0).toString(16).padStart(4, '0'))
const short = (value) => String(Number(value.toPrecision(4)))
const colour = (name) => (Object.hasOwn(data.colours, name) ? data.colours[name] : 0)
const grouped = (count) => String(count).replace(/\\B(?=(\\d{3})+$)/g, '\\u2009')
const rows = data.rows.map(([name, how, dtype, shape, digest, reason, absent]) => ({
  name, how: data.hows[how], dtype: data.dtypes[dtype], shape, digest, absent,
  reason: reason < 0 ? '' : data.reasons[reason], elements: shape.reduce((a, b) => a * b, 1),
}))
const state = { shown: rows, page: 0, sort: 'name', down: false }

const badge = (method) => make('span', 'badge m' + (Object.hasOwn(data.methods, method) ? data.methods[method] : 0), visible(method))

function bar(how) {
  const cell = make('span', 'bar')
  const weights = how.sources.filter((source) => source.weight !== null)
  const total = weights.reduce((sum, source) => sum + Math.abs(source.weight), 0)
  if (total > 0) {
    const track = make('span', 'track')
    for (const source of weights) {
      const part = make('span', 'b' + colour(source.model) + (source.weight < 0 ? ' negative' : ''))
      part.style.width = (100 * Math.abs(source.weight)) / total + '%'
      part.title = visible(source.model) + ': ' + source.weight
      track.append(part)
    }
    cell.append(track)
  }
  for (const source of how.sources.slice(0, 8)) {
    const label = make('span', 'who t' + colour(source.model), visible(source.model))
    cell.append(label, source.weight === null ? ' ' : ' ' + short(source.weight) + ' ')
  }
  if (how.sources.length > 8) cell.append('and ' + (how.sources.length - 8) + ' more')
  return cell
}

function tree(how, name) {
  const list = make('ul', 'tree')
  const parameters = Object.entries(how.parameters).map(([key, value]) => key + ' = ' + JSON.stringify(value))
  const entry = (source, role) => {
    const item = make('li', '', make('b', 't' + colour(source.model), visible(source.model)))
    item.append(role, ' · ' + visible(source.tensor === null ? name : source.tensor))
    if (source.weight !== null) item.append(' · weight ' + source.weight)
    if (source.of) item.append(tree(source.of, name))
    return item
  }
  list.append(make('li', '', badge(how.method), ' ' + visible(parameters.join(', '))))
  if (how.base) list.append(entry(how.base, ' (base)'))
  for (const source of how.sources) list.append(entry(source, ''))
  for (const part of how.parts || []) {
    const item = make('li', '', make('b', 't' + colour(part.model), visible(part.model)))
    item.append(' · ' + visible(part.tensor === null ? name : part.tensor) + ' was made from', tree(part, name))
    list.append(item)
  }
  if (how.cropped) {
    const { rows, models } = how.cropped
    list.append(make('li', '', 'only the first ' + grouped(rows) + ' rows are merged, because of other sizes in ' + visible(models.join(', ')) + '; the others are copied from the base'))
  }
  return list
}

function detail(row) {
  const cell = make('td')
  cell.colSpan = 6
  cell.append(tree(row.how, row.name))
  if (row.reason) cell.append(make('p', '', 'copied: ' + visible(row.reason)))
  for (const { model, reason } of row.absent || []) cell.append(make('p', '', 'skipped: ' + visible(model) + ' (' + ABSENT[reason] + ')'))
  cell.append(make('p', 'mono', row.digest === null ? 'no digest' : row.digest))
  return make('tr', 'detail', cell)
}

function line(row) {
  const name = make('button', 'name mono', visible(row.name))
  const how = make('td', '', bar(row.how))
  if (row.reason) how.append(make('span', 'reason', visible(row.reason)))
  if (row.absent) how.append(make('span', 'reason', 'without ' + visible(row.absent.map((each) => each.model).join(', '))))
  const element = make('tr', '', make('td', '', name), make('td', '', badge(row.how.method)), how,
    make('td', '', row.dtype), make('td', 'number mono', row.shape.join(' × ') || 'scalar'), make('td', 'number', grouped(row.elements)))
  name.setAttribute('aria-expanded', 'false')
  name.addEventListener('click', () => {
    const open = name.getAttribute('aria-expanded') === 'true'
    name.setAttribute('aria-expanded', String(!open))
    if (open) element.nextSibling.remove()
    else element.after(detail(row))
  })
  return element
}

function draw() {
  const pages = Math.max(1, Math.ceil(state.shown.length / PAGE))
  state.page = Math.min(Math.max(0, state.page), pages - 1)
  const from = state.page * PAGE
  $('rows').replaceChildren(...state.shown.slice(from, from + PAGE).map(line))
  $('count').textContent = grouped(state.shown.length) + ' of ' + grouped(rows.length) + ' tensors'
  $('page').textContent = 'page ' + (state.page + 1) + ' of ' + pages
  $('before').disabled = state.page === 0
  $('after').disabled = state.page === pages - 1
}

const collate = new Intl.Collator('en', { numeric: true }).compare
const KEYS = {
  name: (a, b) => collate(a.name, b.name),
  method: (a, b) => collate(a.how.method, b.how.method),
  weight: (a, b) => (a.how.sources[0]?.weight ?? -Infinity) - (b.how.sources[0]?.weight ?? -Infinity) || 0,
  dtype: (a, b) => collate(a.dtype, b.dtype),
  shape: (a, b) => a.shape.length - b.shape.length || (a.shape[0] ?? 0) - (b.shape[0] ?? 0),
  elements: (a, b) => a.elements - b.elements,
}

function apply() {
  const text = $('search').value
  const method = $('method').value
  const which = $('which').value
  let wanted = (name) => name.toLowerCase().includes(text.toLowerCase())
  $('search').classList.remove('wrong')
  if (text.length > 2 && text.startsWith('/') && text.endsWith('/')) {
    try {
      const expression = new RegExp(text.slice(1, -1))
      wanted = (name) => expression.test(name)
    } catch { $('search').classList.add('wrong') }
  }
  state.shown = rows.filter((row) => wanted(row.name) && (method === '' || row.how.method === method) &&
    (which === '' || (which === 'merged' ? !row.reason : which === 'absent' ? row.absent : row.reason === which)))
  const order = KEYS[state.sort]
  state.shown.sort((a, b) => (state.down ? order(b, a) : order(a, b)) || collate(a.name, b.name))
  for (const head of document.querySelectorAll('th[data-sort]'))
    head.setAttribute('aria-sort', head.dataset.sort !== state.sort ? 'none' : state.down ? 'descending' : 'ascending')
  draw()
}

for (const id of ['search', 'method', 'which']) $(id).addEventListener('input', () => { state.page = 0; apply() })
for (const head of document.querySelectorAll('th[data-sort]'))
  head.querySelector('button').addEventListener('click', () => {
    state.down = state.sort === head.dataset.sort && !state.down
    state.sort = head.dataset.sort
    apply()
  })
$('before').addEventListener('click', () => { state.page--; draw() })
$('after').addEventListener('click', () => { state.page++; draw() })
apply()
`
