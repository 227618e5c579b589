import type { Team } from '../dense/team.js'
import { factors, factorsPlaces } from './factors.js'
import { isoC } from './isoC.js'
import { isoCts } from './isoCts.js'
import { knots } from './knots.js'
import { core } from './lowRank/core.js'
import { expanded, expandedPlaces } from './lowRank/expanded.js'
import { joined, joinedPlaces } from './lowRank/joined.js'
import { hra } from './reflected.js'
import { regmean } from './regmean.js'
import { oft } from './rotated.js'
import { star } from './star.js'
import { olora, pissa } from './start.js'
import { ace } from './taskVectors/ace.js'
import { cart } from './taskVectors/cart.js'
import { dcMerge } from './taskVectors/dcMerge.js'
import { grams } from './taskVectors/grams.js'
import { opcm } from './taskVectors/opcm.js'
import { svc } from './taskVectors/svc.js'
import { tsvM } from './tsvM.js'
import type { FactorPlaces, HeldKernel, HeldLayout, HeldRule, HeldWork } from './types.js'

export { corePlaces } from './lowRank/core.js'
export * from './types.js'

const RULES: Readonly<Record<HeldKernel, HeldRule>> = {
  iso_c: isoC,
  iso_cts: isoCts,
  tsv_m: tsvM,
  knots,
  star,
  regmean,
  grams,
  cart,
  dc_merge: dcMerge,
  ace,
  opcm,
  svc,
  factors,
  pissa,
  olora,
  hra,
  oft,
  core,
  joined,
  expanded,
}

/** How much memory the work takes, what is filled when, and where its result is. */
export const heldLayout = (work: HeldWork): HeldLayout => RULES[work.kernel].layout(work)

/** One stage of the work on its matrices at `origin`: called alike on every thread of a team. */
export const solveHeld = (team: Team, work: HeldWork, stage: number, origin: number): string | undefined =>
  RULES[work.kernel].solve(team, work, stage, origin) ?? undefined

const FACTORED: Partial<Record<HeldKernel, (work: HeldWork) => FactorPlaces>> = {
  factors: factorsPlaces,
  joined: joinedPlaces,
  expanded: expandedPlaces,
}

/** Where the results of a factoring's work stand. */
export function factorPlaces(work: HeldWork): FactorPlaces {
  const places = FACTORED[work.kernel]
  if (!places) throw new Error(`internal: ${work.kernel} gives no factors`)
  return places(work)
}
