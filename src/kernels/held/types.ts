/**
 * Held work: work that needs whole matrices of a tensor. They are in the memory of a team and are filled tile by tile. The team's
 * stages run between fillings, and leave a tensor in the compute type.
 */
import { aligned } from '../../core/webassembly.js'
import type { Team } from '../dense/team.js'
import type { Compute } from '../types.js'

export type HeldKernel =
  | 'pissa'
  | 'olora'
  | 'hra'
  | 'oft'
  | 'iso_c'
  | 'iso_cts'
  | 'tsv_m'
  | 'knots'
  | 'star'
  | 'regmean'
  | 'grams'
  | 'cart'
  | 'dc_merge'
  | 'ace'
  | 'opcm'
  | 'svc'
  | 'factors'
  | 'core'
  | 'joined'
  | 'expanded'

/** Plain data, which can be posted to workers. */
export interface HeldWork {
  readonly kernel: HeldKernel
  readonly rows: number
  readonly columns: number
  readonly compute: Compute
  /** One per model, in float64. */
  readonly weights: readonly number[]
  /** λ′: factor of the result. */
  readonly scale: number
  readonly options: Readonly<Record<string, number | string | readonly number[]>>
}

/** Fills a matrix with Σ factor · (input − base), or Σ factor · input: differences in the compute type, the sum in float64, rounded once. */
export interface Fill {
  readonly kind: 'fill'
  readonly terms: readonly { readonly input: number; readonly factor: number }[]
  readonly onBase: boolean
  readonly elements: number
  /** Of a part of the tensor: its first element, where a tile begins. */
  readonly first?: number
  /** Bytes from the work's origin. */
  readonly at: number
  /** float32, else float64. */
  readonly narrow: boolean
}

export type HeldStep = Fill | { readonly kind: 'solve'; readonly stage: number }

export interface HeldLayout {
  /** Of memory, all in all. */
  readonly bytes: number
  /** Multiplications and additions, roughly. */
  readonly operations: number
  readonly steps: readonly HeldStep[]
  /** Where the tensor stands after the last step; where the team's own rooms begin. */
  readonly result: number
  readonly own: number
}

export interface HeldRule {
  readonly layout: (work: HeldWork) => HeldLayout
  /**
   * Done by every thread of a team alike, whose own rooms begin where the layout says. Hands on what was done where the rule says
   * nothing of these matrices.
   */
  // biome-ignore lint/suspicious/noConfusingVoidType: most rules return nothing.
  readonly solve: (team: Team, work: HeldWork, stage: number, origin: number) => string | undefined | void
}

/** Where the factors of a factoring stand, in bytes from the work's origin, and what an element takes. */
export interface FactorPlaces {
  readonly figures: number
  readonly b: number
  readonly a: number
  readonly elementBytes: number
}

/** Lays out rooms one after another, at multiples of 64 bytes from the origin. */
export function rooms(): { take: (bytes: number) => number; total: () => number } {
  let next = 0
  return {
    take(bytes) {
      const at = next
      next += aligned(bytes)
      return at
    },
    total: () => next,
  }
}
