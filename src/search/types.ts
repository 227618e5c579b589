/** A search: what samplers propose, what became of it, and what the page of a search shows. */
import type { ErrorCode } from '../core/codes.js'
import type { Dimension, Goal, SearchMethod, SearchValue } from '../recipe/search/types.js'

/** One value per dimension, in the order of the dimensions. */
export type Point = readonly SearchValue[]

/** What became of one point. */
export interface Trial {
  /** From 0, in the order in which points were proposed. */
  readonly index: number
  /** The batch that it was proposed in, from 0. */
  readonly batch: number
  readonly point: Point
  readonly state: 'done' | 'failed'
  /** Greater is better. Absent if the trial failed. */
  readonly score?: number
  /** All metrics that the command printed. */
  readonly values: Readonly<Record<string, number>>
  /** How long it took to make the checkpoint and to evaluate it. */
  readonly seconds: number
  /** Of the checkpoint. Absent if it was not made. */
  readonly digest?: string
  /** Why it failed. */
  readonly reason?: string
}

/** What samplers know besides the dimensions and earlier trials. */
export interface SamplerSettings {
  readonly seed: number
  /** The largest number of trials of the search. */
  readonly trials: number
}

/** Why a sampler cannot search a space. */
export interface SamplerProblem {
  readonly code: ErrorCode
  readonly message: string
  readonly hint?: string
  /** The dimension that it is about. Absent: the whole search. */
  readonly dimension?: number
}

/** A search method. All functions are pure: the same arguments give the same result, on every machine. */
export interface Sampler {
  readonly name: SearchMethod
  /** In one line, for help and documentation. */
  readonly describe: string
  /** Undefined if it can search this space. */
  check(space: readonly Dimension[], settings: SamplerSettings): SamplerProblem | undefined
  /** How many points a batch has. The last batch of a search can have fewer. Does not depend on how many trials run at the same time. */
  batch(space: readonly Dimension[], settings: SamplerSettings): number
  /** The points of a batch. Empty: there are no more. `earlier` are all trials of earlier batches, by index; some have failed. */
  propose(
    space: readonly Dimension[],
    settings: SamplerSettings,
    batch: number,
    earlier: readonly Trial[],
  ): readonly Point[]
}

/** A whole search, for its page. */
export interface SearchRecord {
  /** The recipe's file as the user named it. */
  readonly recipe: string
  readonly dimensions: readonly Dimension[]
  /** The recipe's own values, as a point. Absent where the recipe has no value for one of the dimensions. */
  readonly start?: Point
  readonly objective: readonly Goal[]
  readonly method: SearchMethod
  readonly seed: number
  /** The largest number of trials. */
  readonly asked: number
  /** In order of their index. */
  readonly trials: readonly Trial[]
  /** The index of the best trial. Absent if none succeeded. */
  readonly best?: number
  /** Why the search ended. */
  readonly end: 'trials' | 'points' | 'patience' | 'failures'
  /** The best trial, made and evaluated again. */
  readonly repeat?: { readonly score: number; readonly digest: string; readonly sameDigest: boolean }
  /** terge's version. */
  readonly version: string
}
