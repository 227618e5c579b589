/** The work that decomposes a difference into two factors. */
import { randomStream } from '../../core/random.js'
import type { HeldWork } from '../../kernels/held/types.js'
import type { Compute } from '../../kernels/types.js'
import type { RecipeHead } from '../../language/types.js'

/** For the randomised method: matrix elements in memory at once, 256 MiB in float32. */
const PANEL = 2 ** 26
/** Up to this shorter side, computing all singular vectors is faster than the randomised method. */
const EXACT_SIDE = 512

/** What is factored, and how exactly. */
export interface Factoring {
  readonly rows: number
  readonly columns: number
  readonly compute: Compute
  readonly rank: number
  /** The largest rank that the run may choose. */
  readonly bound: number
  readonly method: 'auto' | 'exact' | 'randomised'
  readonly oversampling: number
  readonly iterations: number
  /** The share of the squared difference that the rank must reach, if the run finds the rank. */
  readonly energy?: number
  /** Singular values up to this one are cut, if the run finds the rank. */
  readonly above?: number
  readonly scale: number
  readonly turned: boolean
  /** Names that the random numbers depend on. */
  readonly stream: readonly [string, string]
}

export function factorWork({ seed }: RecipeHead, of: Factoring): HeldWork {
  const { rows, columns, compute, rank, bound, oversampling, iterations, energy, above, scale, turned, stream } = of
  const short = Math.min(rows, columns)
  const near = 4 * (bound + oversampling) >= short
  const method = of.method !== 'auto' ? of.method : short <= EXACT_SIDE || near ? 'exact' : 'randomised'
  const random = {
    // As many columns as when the rank was chosen, so that the same triplets are found.
    ...{ oversampling: oversampling + bound - rank, iterations, panel: PANEL },
    stream: [...randomStream(seed, ...stream)],
  }
  return {
    ...{ kernel: 'factors', rows, columns, compute, weights: [1], scale },
    options: {
      ...{ rank, method, turned: turned ? 1 : 0 },
      ...(method === 'randomised' ? random : {}),
      ...(energy === undefined ? {} : { energy }),
      ...(above === undefined ? {} : { above }),
    },
  }
}
