/** Names such as `t-0.100`: three decimals, or more if the points need them. */
export function pointNames(points: readonly number[]): string[] {
  for (let digits = 3; ; digits++) {
    const names = points.map((t) => `t-${t.toFixed(digits)}`)
    if (new Set(names).size === points.length) return names
    // The shortest decimal forms of different numbers differ.
    if (digits === 17) return points.map((t) => `t-${t}`)
  }
}

/** The points between the two models, which are averages, by index. */
export const innerPoints = (points: readonly number[]): number[] =>
  points.flatMap((t, index) => (t === 0 || t === 1 ? [] : [index]))
