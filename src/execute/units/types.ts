/** What units of all kinds share while they are done. */
import type { Fault } from '../../core/diagnostics.js'
import type { Kernels } from '../../kernels/index.js'
import type { Plan } from '../../plan/types.js'
import type { PlanUnits, Unit } from '../../plan/units.js'
import type { Listener } from '../events.js'
import type { Findings } from '../findings.js'
import type { Pool } from '../pools/types.js'
import type { FactorShelf } from '../schedule/factorings.js'
import type { TileRecord } from '../tiles/records.js'
import type { Claims } from './claims.js'
import type { InputDigests } from './inputDigests.js'
import type { PartCost, RunProgress } from './progress.js'
import type { RecordBook } from './recordBook.js'
import type { UnitRecord } from './records.js'

export interface Engine {
  readonly plan: Plan
  readonly units: PlanUnits
  readonly pool: Pool
  readonly kernels: Kernels
  readonly digests: InputDigests
  readonly claims: Claims
  readonly records: RecordBook
  /** Records tiles of an output's tensor that is under way. Absent: nothing is recorded. */
  readonly noteTiles?: ((output: number, record: TileRecord) => void) | undefined
  /** Records a part of the findings of an analysis that is under way. Absent: nothing is recorded. */
  readonly notePart?: ((record: UnitRecord) => void) | undefined
  /** See `ExecuteOptions`. */
  readonly rangeBytes?: number | undefined
  /** The findings of analyses and scopes, for programs. */
  readonly findings: Findings
  readonly shelf: FactorShelf
  readonly progress: RunProgress
  readonly listen: Listener
  readonly signal: AbortSignal | undefined
  /** The share of the units to do. Absent: all of them. */
  readonly part?: Part | undefined
  /** In a run that makes nothing itself: the error about units that no earlier run has done. */
  readonly left?: ((units: readonly Unit[]) => Fault) | undefined
}

/** One of several runs that share a plan's units. */
export interface Part {
  /** Whether it finds what tensors need: the results of analyses and scopes. Other parts only use them. */
  readonly finds: boolean
  /** Whether it makes this tensor. */
  owns(output: number, tensor: number): boolean
  /** Whether it digests this stored tensor, which no output reads. */
  digests(stored: number): boolean
  /** What it reads and writes. */
  readonly cost: PartCost
}

/** The positions of the outputs' files among the files of the pool. */
export interface OutputFiles {
  /** Among the readable files: the first file of an output. */
  readonly readable: number
  /** By output of this batch: its first file among all written files. */
  readonly first: ReadonlyMap<number, number>
  /** The paths of all written files. */
  readonly paths: readonly string[]
}
