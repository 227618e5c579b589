/** Trials that succeeded. */
import type { Trial } from './types.js'

export type DoneTrial = Trial & { readonly score: number }

export const doneOf = (trials: readonly Trial[]): DoneTrial[] =>
  trials.filter((trial): trial is DoneTrial => trial.score !== undefined)
