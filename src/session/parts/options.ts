/** How parts of a run are done. */
import type { ExecuteOptions } from '../../execute/types.js'
import type { RunOptions } from '../run.js'

/** How to do a part. `resume` is of no use: a part always continues what was done of it. */
export type PartOptions = Omit<RunOptions, 'resume' | 'checksums'> & {
  /** Where parts meet: a folder that all machines share, or `s3://bucket/prefix`. Default: a folder beside the first output. */
  readonly work?: string
}

/** For tests: where tasks run. */
export type PartInternals = Pick<ExecuteOptions, 'openPool' | 'rangeBytes'>
