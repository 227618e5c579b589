/** Options, events and results of searches. */
import type { RunEvent } from '../../execute/events.js'
import type { Goal, SearchMethod } from '../../recipe/search/types.js'
import type { SearchRecord } from '../../search/types.js'
import type { RunResult } from '../run.js'
import type { TrialData } from './trialLines.js'

/** How to search. */
export interface SearchOptions {
  /** `KEY=VALUE` overrides, applied in this order. Those of values, not of the search, are in the best recipe too. */
  readonly set?: readonly string[]
  /** The path of the best checkpoint, relative to the working folder. Replaces the path in the recipe. */
  readonly output?: string
  /** Default: one per CPU core. One checkpoint is made at a time, with all of them. */
  readonly threads?: number
  /** Limit of anonymous memory in bytes, for all threads together. Default: 1 GB plus the plan itself. */
  readonly memory?: number
  /** Continue the search of the recipe's file of trials. Default: false. */
  readonly resume?: boolean
  /** Replace the files of an earlier search, and an existing output. Default: false. */
  readonly force?: boolean
  /** The folder in which outputs for the hub or a store are made. Default: `work` in terge's cache. */
  readonly work?: string
  /** Default true: calls fsync before the output gets its name. */
  readonly sync?: boolean
  /** `evaluate` commands: fail (default), or run them. A search without them is not possible. */
  readonly commands?: 'refuse' | 'run'
  /** Called with events: those of the search, and those of the run of the best recipe. */
  readonly listen?: SearchListener
  /** Ends the search early. The promise then rejects with the error `interrupted`. What is recorded stays. */
  readonly signal?: AbortSignal
}

/** What all runs of a search have. */
export const machineOf = ({ threads, memory, work, signal }: SearchOptions) => ({
  ...(threads === undefined ? {} : { threads }),
  ...(memory === undefined ? {} : { memory }),
  ...(work === undefined ? {} : { work }),
  ...(signal ? { signal } : {}),
})

/** An event of a search. */
export type SearchEvent =
  /** The search begins. `done`: trials that an earlier run recorded. */
  | {
      readonly kind: 'search'
      readonly recipe: string
      readonly method: SearchMethod
      readonly parameters: readonly string[]
      readonly objective: readonly Goal[]
      /** The largest number of trials. */
      readonly trials: number
      readonly parallel: number
      readonly done: number
    }
  /** A checkpoint is made or evaluated, in a place from 0 to `parallel` − 1. */
  | {
      readonly kind: 'trial-state'
      readonly trial: number
      readonly place: number
      readonly state: 'making' | 'evaluating'
      readonly parameters: TrialData['parameters']
    }
  /** A trial is over and recorded. */
  | {
      readonly kind: 'trial'
      readonly trial: TrialData
      /** The number of trials that are recorded. */
      readonly done: number
      /** The best trial so far. */
      readonly best?: TrialData
      /** Tensors that were computed, of all tensors. The others were there from the trial before. */
      readonly computed?: number
      readonly tensors?: number
    }
  /** All trials are over; the best one is made again. */
  | { readonly kind: 'repeat'; readonly best: TrialData; readonly recipe: string; readonly end: SearchRecord['end'] }

/** Receives all events of a search. */
export type SearchListener = (event: SearchEvent | RunEvent) => void

/** The result of a search. */
export interface SearchResult {
  /** All of it, as its page shows it. */
  readonly record: SearchRecord
  /** The trial with the greatest score. */
  readonly best: TrialData
  /** The best checkpoint, made and evaluated again. */
  readonly repeat: {
    readonly score: number
    readonly metrics: Readonly<Record<string, number>>
    readonly digest: string
    /** Whether it has the digest of the trial. */
    readonly sameDigest: boolean
  }
  /** Absolute paths of the files of trials, of the best recipe and of the page. */
  readonly files: { readonly trials: string; readonly best: string; readonly page: string }
  /** The run of the best recipe. */
  readonly run: RunResult
  /** How long this search took. */
  readonly seconds: number
}
