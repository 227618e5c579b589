/**
 * What the language has and this version does not execute yet. Each entry goes when its part is built; nothing else in
 * the recipe room knows about it.
 */
import { lookupMethod } from '../methods/registry.js'
import { type Cursor, entriesOf, itemsOf } from './cursor.js'
import type { Report } from './report.js'

/** Methods of the language that the registry may lack. */
const PLANNED_METHODS =
  `nuslerp multislerp karcher ties dare_linear dare_ties della_linear della breadcrumbs breadcrumbs_ties model_stock sce
  arcee_fusion nearswap ram ramplus_tl median geometric_median magmax consensus_ta metagpt pcb fisher regmean iso_c
  iso_cts tsv_m knots star`.split(/\s+/)

export const plannedMethods = (): string[] => PLANNED_METHODS.filter((name) => lookupMethod(name) === undefined)

/** `*` is any key or index. */
const KEYS: readonly { path: string; what: string }[] = [{ path: 'models.*.lora', what: 'applying adapters (lora)' }]

const CODE = 'not-in-this-version'

export function checkSupported(root: Cursor, report: Report): void {
  for (const { path, what } of KEYS)
    for (const found of walk(root, path.split('.')))
      report.error(CODE, `not in this version of terge: ${what}`, found.path, { part: 'key' })
}

export const methodNotYet = (name: string, at: Cursor, report: Report): void =>
  report.error(CODE, `not in this version of terge: the method ${name}`, at.path, {
    hint: 'terge methods lists those that do',
  })

function walk(at: Cursor, [head, ...rest]: readonly string[]): Cursor[] {
  if (head === undefined) return [at]
  const children: [string | number, Cursor][] = [...entriesOf(at), ...itemsOf(at).entries()]
  return children.filter(([key]) => head === '*' || key === head).flatMap(([, child]) => walk(child, rest))
}
