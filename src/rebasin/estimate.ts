/** Estimates how far work is whose number of rounds is not known before. */

/** So many rounds are usual. */
const USUAL = 6

export interface Estimate {
  /** The share of the whole work after these rounds. `whole`: from a share of the current rounds. It never falls. */
  readonly at: (rounds: number, whole?: (share: number) => number) => number
  /** The rounds ended after so many: the next ones are expected to take about as many. */
  readonly ended: (rounds: number) => void
}

/** `usual`: how many rounds to expect at first. Every share is below 1, since another round can always follow. */
export function estimate(usual = USUAL): Estimate {
  let expected = usual
  let known: readonly number[] = []
  let most = 0
  return {
    at(rounds, whole = (share) => share) {
      most = Math.max(most, whole(rounds / Math.max(expected, rounds + 1)))
      return most
    },
    ended(rounds) {
      known = [...known, rounds]
      expected = known.reduce((sum, count) => sum + count, 0) / known.length
    },
  }
}

/** Of rounds that converge: the share of the way, in orders of magnitude, from the first gain to the smallest that counts. */
export function convergence(smallest: number): (gain: number) => number {
  let first: number | undefined
  let most = 0
  return (gain) => {
    if (first === undefined) first = gain
    const way = Math.log(first / smallest)
    const done = Math.log(first / Math.max(gain, smallest))
    if (way > 0 && Number.isFinite(done)) most = Math.max(most, Math.min(1, done / way))
    return most
  }
}
