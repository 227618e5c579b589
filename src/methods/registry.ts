/** All merge methods: the recipe's schema, `terge methods` and README's table are made from this list. */
import { arceeFusion } from './arcee_fusion.js'
import { breadcrumbs, breadcrumbsTies } from './breadcrumbs.js'
import { consensusTa } from './consensus_ta.js'
import { dareLinear, dareTies } from './dare.js'
import { della, dellaLinear } from './della.js'
import { fisher } from './fisher.js'
import { geometricMedian } from './geometric_median.js'
import { isoC } from './iso_c.js'
import { isoCts } from './iso_cts.js'
import { karcher } from './karcher.js'
import { knots } from './knots.js'
import { linear } from './linear.js'
import { magmax } from './magmax.js'
import { median } from './median.js'
import { metagpt } from './metagpt.js'
import { modelStock } from './model_stock.js'
import { multislerp } from './multislerp.js'
import { nearswap } from './nearswap.js'
import { nuslerp } from './nuslerp.js'
import { passthrough } from './passthrough.js'
import { pcb } from './pcb.js'
import { ram } from './ram.js'
import { ramplusTl } from './ramplus_tl.js'
import { regmean } from './regmean.js'
import { sce } from './sce.js'
import { slerp } from './slerp.js'
import { star } from './star.js'
import { taskArithmetic } from './task_arithmetic.js'
import { ties } from './ties.js'
import { tsvM } from './tsv_m.js'
import type { Method, ParameterSchema, Resolved } from './types.js'

export const METHODS: readonly Method[] = [
  linear,
  slerp,
  nuslerp,
  multislerp,
  karcher,
  taskArithmetic,
  ties,
  dareLinear,
  dareTies,
  dellaLinear,
  della,
  breadcrumbs,
  breadcrumbsTies,
  modelStock,
  sce,
  arceeFusion,
  nearswap,
  ram,
  ramplusTl,
  passthrough,
  median,
  geometricMedian,
  magmax,
  consensusTa,
  metagpt,
  pcb,
  fisher,
  regmean,
  isoC,
  isoCts,
  tsvM,
  knots,
  star,
]

const byName = new Map(METHODS.flatMap((method) => [method.name, ...method.aliases].map((name) => [name, method])))

/** By name or alias. */
export const lookupMethod = (name: string): Method | undefined => byName.get(name)

/** Every name that a recipe may use, aliases after the name they stand for. */
export const METHOD_NAMES: readonly string[] = [...byName.keys()]

export const parameterOf = (method: Method, name: string): ParameterSchema | undefined =>
  method.parameters.find((parameter) => parameter.name === name)

/** What was written for one tensor, with the method's defaults for the rest. A required parameter must be written. */
export function resolveDefaults(
  method: Method,
  written: Readonly<Record<string, Resolved>>,
): Readonly<Record<string, Resolved>> {
  const resolved: Record<string, Resolved> = {}
  for (const { name, default: value } of method.parameters) {
    const chosen = Object.hasOwn(written, name) ? written[name] : value
    if (chosen === undefined) throw new Error(`internal: ${method.name} without its parameter ${name}`)
    resolved[name] = chosen
  }
  return resolved
}
