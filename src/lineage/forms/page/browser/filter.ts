/** The filter of the table. It is kept in the address, so that a link shows the same tensors. */
import type { PageData } from '../pageData.js'
import type { Row, Store } from './rows.js'

export interface Filter {
  search: string
  method: string
  /** `merged`, `absent`, or the code of a reason for copying. */
  which: string
  /** `STEP/NUMBER`. */
  rule: string
  sort: string
  down: boolean
  /** From 0. */
  page: number
}

export const DEFAULT: Readonly<Filter> = {
  search: '',
  method: '',
  which: '',
  rule: '',
  sort: 'name',
  down: false,
  page: 0,
}

const START = '#tensors?'

/** The filter in an address; undefined if it has none. */
export function readAddress(hash: string): Filter | undefined {
  if (!hash.startsWith(START)) return undefined
  const fields = new URLSearchParams(hash.slice(START.length))
  const text = (key: string): string => fields.get(key) ?? ''
  const page = Number(text('page'))
  return {
    search: text('search'),
    method: text('method'),
    which: text('which'),
    rule: text('rule'),
    sort: text('sort') || DEFAULT.sort,
    down: text('order') === 'down',
    page: Number.isInteger(page) && page > 1 ? page - 1 : 0,
  }
}

export function addressOf({ search, method, which, rule, sort, down, page }: Filter): string {
  const fields = new URLSearchParams()
  const set = (key: string, value: string): void => {
    if (value !== '') fields.set(key, value)
  }
  set('search', search)
  set('method', method)
  set('which', which)
  set('rule', rule)
  set('sort', sort === DEFAULT.sort ? '' : sort)
  set('order', down ? 'down' : '')
  set('page', page > 0 ? String(page + 1) : '')
  return fields.size === 0 ? '#tensors' : `${START}${fields}`
}

/** What a search looks for; or why it is not a search. */
export function searcher(text: string): ((row: Row) => boolean) | string {
  if (text.length > 1 && text.startsWith('/') && text.endsWith('/')) {
    try {
      const expression = new RegExp(text.slice(1, -1))
      return ({ name }) => expression.test(name)
    } catch (error) {
      return error instanceof Error ? error.message : String(error)
    }
  }
  const wanted = text.toLowerCase()
  return ({ lower }) => lower.includes(wanted)
}

/** Rows that pass everything but the search. */
export function passes({ rules, methods }: PageData, { method, which, rule }: Filter): (row: Row) => boolean {
  const chosenMethod = methods.indexOf(method)
  const chosen = rules.findIndex(({ step, number }) => `${step}/${number}` === rule)
  return (row) =>
    (method === '' || row.method === chosenMethod) &&
    (rule === '' || row.rules.includes(chosen)) &&
    (which === '' ||
      (which === 'merged'
        ? methods[row.method] !== 'copy'
        : which === 'absent'
          ? row.absent.length > 0
          : row.reason?.code === which))
}

const collate = new Intl.Collator('en', { numeric: true }).compare

type Order = (a: Row, b: Row) => number

/** By column. Rows are in the order of names already. */
export function orderOf(store: Store, sort: string): Order | undefined {
  const { methods } = store.data
  const orders: Readonly<Record<string, Order>> = {
    method: (a, b) => collate(methods[a.method]!, methods[b.method]!),
    weight: (a, b) => {
      const [one, other] = [store.firstWeight(a), store.firstWeight(b)]
      return one === other ? 0 : one - other
    },
    dtype: (a, b) => collate(a.dtype, b.dtype),
    shape: (a, b) => a.shape.length - b.shape.length || (a.shape[0] ?? 0) - (b.shape[0] ?? 0),
    elements: (a, b) => a.elements - b.elements,
  }
  return Object.hasOwn(orders, sort) ? orders[sort] : undefined
}
