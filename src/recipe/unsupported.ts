/** Methods that the language has and this version does not execute yet: each goes when it is built. */
import { lookupMethod } from '../methods/registry.js'
import type { Cursor } from './cursor.js'
import type { Report } from './report.js'

/** Methods of the language that the registry may lack. */
const PLANNED_METHODS =
  `nuslerp multislerp karcher ties dare_linear dare_ties della_linear della breadcrumbs breadcrumbs_ties model_stock sce
  arcee_fusion nearswap ram ramplus_tl median geometric_median magmax consensus_ta metagpt pcb fisher regmean iso_c
  iso_cts tsv_m knots star`.split(/\s+/)

export const plannedMethods = (): string[] => PLANNED_METHODS.filter((name) => lookupMethod(name) === undefined)

const CODE = 'not-in-this-version'

export const methodNotYet = (name: string, at: Cursor, report: Report): void =>
  report.error(CODE, `not in this version of terge: the method ${name}`, at.path, {
    hint: 'terge methods lists those that do',
  })
