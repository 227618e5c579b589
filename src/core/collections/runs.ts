/** Runs of numbers that follow one another. */
export type Runs = readonly (readonly [first: number, last: number])[]

export function runsOf(numbers: Iterable<number>): Runs {
  const runs: [number, number][] = []
  for (const number of [...numbers].sort((a, b) => a - b)) {
    const last = runs.at(-1)
    if (last && last[1] + 1 === number) last[1] = number
    else runs.push([number, number])
  }
  return runs
}

/** `0, 2–4`. */
export const runsText = (runs: Runs): string =>
  runs.map(([first, last]) => (first === last ? `${first}` : `${first}–${last}`)).join(', ')
