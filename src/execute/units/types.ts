/** What units of all kinds share while they are done. */
import type { Kernels } from '../../kernels/index.js'
import type { Plan } from '../../plan/types.js'
import type { PlanUnits } from '../../plan/units.js'
import type { Listener } from '../events.js'
import type { Findings } from '../findings.js'
import type { Pool } from '../pools/types.js'
import type { FactorShelf } from '../schedule/factorings.js'
import type { Claims } from './claims.js'
import type { InputDigests } from './inputDigests.js'
import type { RunProgress } from './progress.js'
import type { RecordBook } from './recordBook.js'

export interface Engine {
  readonly plan: Plan
  readonly units: PlanUnits
  readonly pool: Pool
  readonly kernels: Kernels
  readonly digests: InputDigests
  readonly claims: Claims
  readonly records: RecordBook
  /** The findings of analyses and scopes, for programs. */
  readonly findings: Findings
  readonly shelf: FactorShelf
  readonly progress: RunProgress
  readonly listen: Listener
  readonly signal: AbortSignal | undefined
  /** The share of the units to do. Absent: all of them. */
  readonly part?: Part | undefined
}

/** One of several runs that share a plan's units. */
export interface Part {
  readonly index: number
  readonly of: number
}

/** Whether a unit with this number belongs to a part: parts take turns. */
export const isOwn = ({ part }: Pick<Engine, 'part'>, count: number): boolean =>
  part === undefined || count % part.of === part.index
