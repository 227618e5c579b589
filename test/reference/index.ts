/** Scalar references of all merge methods, to test the streaming ones against: `reference('ties', given)`. */
import { geometricMedian, linearAverage, median, passthrough } from './averages.js'
import { opcm, svc } from './calibrated.js'
import { consensusTa, pcb, ram, ramplusTl } from './consensus.js'
import { actmat, cart, wudi } from './fitted.js'
import { formula } from './formula.js'
import { arceeFusion, nearswap } from './fusion.js'
import { type Given, option, type Tensor } from './numeric.js'
import { sce, sparseElection, sparseSum } from './sign.js'
import { ace, dcMerge } from './spaces.js'
import { isoC, isoCts, knots, star, tsvM } from './spectral.js'
import { karcher, multislerp, nuslerp, slerp } from './spherical.js'
import { fisher, regmean } from './statistics.js'
import { linearIfChanged, magmax, metagpt, modelStock, taskArithmetic } from './taskVectors.js'

export type { Compute, Given, Tensor } from './numeric.js'

export const REFERENCES: Readonly<Record<string, (given: Given) => Tensor>> = {
  linear: linearAverage,
  passthrough,
  median,
  geometric_median: geometricMedian,
  slerp,
  nuslerp,
  multislerp,
  karcher,
  task_arithmetic: taskArithmetic,
  linear_if_changed: linearIfChanged,
  model_stock: modelStock,
  magmax,
  metagpt,
  ties: (given) => sparseElection(given, 'trim', true),
  dare_linear: (given) => sparseSum(given, 'dare'),
  dare_ties: (given) => sparseElection(given, 'dare', false),
  della_linear: (given) => sparseSum(given, 'della'),
  della: (given) => sparseElection(given, 'della', true),
  breadcrumbs: (given) => sparseSum(given, 'breadcrumbs'),
  breadcrumbs_ties: (given) => sparseElection(given, 'breadcrumbs', false),
  sce,
  consensus_ta: consensusTa,
  ram,
  ramplus_tl: ramplusTl,
  pcb,
  arcee_fusion: arceeFusion,
  nearswap,
  iso_c: isoC,
  iso_cts: isoCts,
  tsv_m: tsvM,
  knots,
  star,
  cart,
  wudi,
  actmat,
  ace,
  dc_merge: dcMerge,
  opcm,
  svc: (given) => svc(given, reference(option(given, 'inner', 'task_arithmetic'), given)),
  fisher,
  regmean,
  formula,
}

/** The merged tensor by the rule of `method`. `inputs` are the participants; see `Given`. */
export function reference(method: string, given: Given): Tensor {
  const rule = REFERENCES[method]
  if (rule === undefined) throw new Error(`internal: no reference of the method ${method}`)
  return rule(given)
}
