/** Values of ranges. */
import { philox, randomStream } from '../../core/random.js'
import type { Range, SearchValue } from '../../recipe/search/types.js'

/** `count` numbers in [0, 1) of one stream. */
export function uniforms(seed: number, stream: string, count: number): number[] {
  const [key0, key1, counter2, counter3] = randomStream(seed, 'search', stream)
  return Array.from({ length: count }, (_, index) => {
    const [high, low] = philox([index, 0, counter2, counter3], [key0, key1])
    return ((high >>> 5) * 2 ** 26 + (low >>> 6)) * 2 ** -53
  })
}

/** Without the noise of binary fractions: 0.1 + 2 · 0.1 is 0.3. */
const tidy = (value: number): number => Number(value.toPrecision(12))

/** How many values a range has; undefined: infinitely many. */
function countOf(range: Range): number | undefined {
  if (range.kind === 'choice') return range.values.length
  const step = range.step ?? (range.kind === 'integer' ? 1 : undefined)
  return step === undefined ? undefined : Math.floor((range.high - range.low) / step + 1e-9) + 1
}

/** The value at a place from 0 to 1 of a range: 0 is its lower end. */
export function valueAt(range: Range, place: number): SearchValue {
  const count = countOf(range)
  const index = Math.min(Math.floor(place * (count ?? 0)), (count ?? 1) - 1)
  if (range.kind === 'choice') return range.values[index]!
  const { kind, low, high, log, step = 1 } = range
  if (log) {
    const value = Math.min(high, Math.max(low, Math.exp(Math.log(low) + place * (Math.log(high) - Math.log(low)))))
    return kind === 'integer' ? Math.round(value) : tidy(value)
  }
  if (count !== undefined) return tidy(low + index * step)
  return tidy(low + place * (high - low))
}

/** The values of a range that a grid takes; undefined: it does not say how many. */
export function gridValues(range: Range): readonly SearchValue[] | undefined {
  if (range.kind !== 'choice' && range.points !== undefined) {
    const { low, high, log, points, kind } = range
    const at = (index: number): number => {
      const place = points === 1 ? 0 : index / (points - 1)
      if (index === points - 1) return high
      const value = log ? low * (high / low) ** place : low + place * (high - low)
      return kind === 'integer' ? Math.round(value) : tidy(value)
    }
    return [...new Set(Array.from({ length: points }, (_, index) => at(index)))]
  }
  if (range.kind !== 'choice' && range.log && range.kind === 'real') return undefined
  const count = countOf(range)
  if (count === undefined) return undefined
  if (range.kind === 'choice') return range.values
  const { low, step = 1 } = range
  return Array.from({ length: count }, (_, index) => tidy(low + index * step))
}
