/** All merge methods. The recipe schema, `terge methods` and the README's table are generated from this list. */

import { adaptedPasses } from './adapted.js'
import { geometricMedian } from './averages/geometric_median.js'
import { linear } from './averages/linear.js'
import { linearIfChanged } from './averages/linear_if_changed.js'
import { median } from './averages/median.js'
import { modelStock } from './averages/model_stock.js'
import { nearswap } from './averages/nearswap.js'
import { passthrough } from './averages/passthrough.js'
import { formula } from './formula/formula.js'
import { noisePasses } from './noise.js'
import { quantizerPasses } from './quantize.js'
import { ace } from './singular/ace.js'
import { cart } from './singular/cart.js'
import { dcMerge } from './singular/dc_merge.js'
import { isoC } from './singular/iso_c.js'
import { isoCts } from './singular/iso_cts.js'
import { knots } from './singular/knots.js'
import { opcm } from './singular/opcm.js'
import { star } from './singular/star.js'
import { svc } from './singular/svc.js'
import { tsvM } from './singular/tsv_m.js'
import { actmat, wudi } from './singular/wudi.js'
import { breadcrumbs, breadcrumbsTies } from './sparse/breadcrumbs.js'
import { dareLinear, dareTies } from './sparse/dare.js'
import { della, dellaLinear } from './sparse/della.js'
import { ties } from './sparse/ties.js'
import { karcher } from './spherical/karcher.js'
import { multislerp } from './spherical/multislerp.js'
import { nuslerp } from './spherical/nuslerp.js'
import { slerp } from './spherical/slerp.js'
import { fisher } from './statistics/fisher.js'
import { regmean } from './statistics/regmean.js'
import { arceeFusion } from './taskVectors/arcee_fusion.js'
import { consensusTa } from './taskVectors/consensus_ta.js'
import { magmax } from './taskVectors/magmax.js'
import { metagpt } from './taskVectors/metagpt.js'
import { pcb } from './taskVectors/pcb.js'
import { ram } from './taskVectors/ram.js'
import { ramplusTl } from './taskVectors/ramplus_tl.js'
import { sce } from './taskVectors/sce.js'
import { taskArithmetic } from './taskVectors/task_arithmetic.js'
import type { Method, ParameterSchema, Passes, TensorSettings } from './types.js'

/** All methods by family, which is the name of their folder. The order is the one of the documentation. */
// biome-ignore format: one method per line
const FAMILIES = {
  averages: [
    linear,
    linearIfChanged,
    median,
    geometricMedian,
    nearswap,
    passthrough,
    modelStock,
  ],
  spherical: [
    slerp,
    nuslerp,
    multislerp,
    karcher,
  ],
  taskVectors: [
    taskArithmetic,
    sce,
    arceeFusion,
    ram,
    ramplusTl,
    magmax,
    consensusTa,
    metagpt,
    pcb,
  ],
  sparse: [
    ties,
    dareLinear,
    dareTies,
    dellaLinear,
    della,
    breadcrumbs,
    breadcrumbsTies,
  ],
  singular: [
    isoC,
    isoCts,
    tsvM,
    knots,
    star,
    cart,
    wudi,
    actmat,
    ace,
    dcMerge,
    opcm,
    svc,
  ],
  statistics: [
    fisher,
    regmean,
  ],
  formula: [
    formula,
  ],
} as const satisfies Readonly<Record<string, readonly Method[]>>

/** A group of methods that work alike. */
export type MethodFamily = keyof typeof FAMILIES

const families = new Map(
  (Object.entries(FAMILIES) as [MethodFamily, readonly Method[]][]).flatMap(([family, methods]) =>
    methods.map((method) => [method, family] as const),
  ),
)

export const METHODS: readonly Method[] = [...families.keys()]

/** The family of a method: a group of methods that work alike. Never throws for methods of terge. */
export const familyOf = (method: Method): MethodFamily => families.get(method)!

const byName = new Map(METHODS.flatMap((method) => [method.name, ...method.aliases].map((name) => [name, method])))

/** The method with this name or alias. */
export const lookupMethod = (name: string): Method | undefined => byName.get(name)

const joined = new Map<Method, Method>()

/** A method that goes on from another one's result: what it takes with this inner method. Other methods as they are. */
export function withInner(method: Method, name: unknown): Method {
  const plain = byName.get(method.name)
  if (!plain?.around) return method
  const found = plain.around.find((one) => one.name === name) ?? plain.around[0]!
  const { weights, divides, models, refuse } = found
  const parameters = [...plain.parameters, ...found.parameters]
  const known = joined.get(found) ?? { ...plain, weights, divides, models, parameters, ...(refuse ? { refuse } : {}) }
  joined.set(found, known)
  return known
}

/** Every parameter that a method may have, with whatever inner method. The first of several with one name. */
export function allParameters({ parameters, around = [] }: Method): readonly ParameterSchema[] {
  const all = [...parameters, ...around.flatMap((inner) => inner.parameters)]
  return all.filter(({ name }, index) => all.findIndex((other) => other.name === name) === index)
}

/** The passes over a tensor: those of a method, of what quantizes a result, or of an adapter's change. */
export function passesBy(name: string): (settings: TensorSettings) => Passes {
  const passes = quantizerPasses(name) ?? adaptedPasses(name) ?? noisePasses(name) ?? byName.get(name)?.passes
  if (!passes) throw new Error(`internal: method ${name} is not in the registry`)
  return passes
}

/** Every name that a recipe may use. Aliases follow their method's name. */
export const METHOD_NAMES: readonly string[] = [...byName.keys()]

export const parameterOf = (method: Method, name: string): ParameterSchema | undefined =>
  method.parameters.find((parameter) => parameter.name === name)

/** Which model the base of a method is: most merge task vectors, some start from one of the models. */
export const whichBase = ({ base }: Method): string =>
  base === 'listed' ? 'the merged model to start from' : 'the model that the others were fine-tuned from'
