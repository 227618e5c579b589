/** Values of ranges, and their places: a place is a number from 0 to 1, and places are spread as evenly as a range asks for. */
import { philox, randomStream } from '../../core/random.js'
import type { Range, SearchValue } from '../../recipe/search/types.js'
import { exp, ln } from './functions.js'

type Numbers = Exclude<Range, { readonly kind: 'choice' }>

/** `count` numbers between 0 and 1, both excluded, of one stream. */
export function uniforms(seed: number, stream: string, count: number): number[] {
  const [key0, key1, counter2, counter3] = randomStream(seed, 'search', stream)
  return Array.from({ length: count }, (_, index) => {
    const [high, low] = philox([index, 0, counter2, counter3], [key0, key1])
    return ((high >>> 6) * 2 ** 26 + (low >>> 6) + 0.5) * 2 ** -52
  })
}

/** Without the noise of binary fractions: 0.1 + 2 · 0.1 is 0.3. */
const tidy = (value: number): number => Number(value.toPrecision(12))

/** A real number without digits that make no difference: six of the value on a log range, else a millionth of the range. */
function short({ low, high, log }: Numbers, value: number): number {
  if (log) return Number(value.toPrecision(6))
  const digits = 6 - Math.floor(ln(high - low) / Math.LN10 + 1e-9)
  return Number(value.toFixed(Math.min(15, Math.max(0, digits))))
}

const within = ({ low, high }: Numbers, value: number): number => Math.min(high, Math.max(low, value))

/** How many values a range has; undefined: infinitely many. */
export function countOf(range: Range): number | undefined {
  if (range.kind === 'choice') return range.values.length
  const step = range.step ?? (range.kind === 'integer' ? 1 : undefined)
  return step === undefined ? undefined : Math.floor((range.high - range.low) / step + 1e-9) + 1
}

/** Whether the logarithm is spread evenly. */
export const isLog = (range: Range): boolean => range.kind !== 'choice' && range.log

/** How many places of the same width the values of a range have; undefined: infinitely many, or of different widths. */
export const evenCountOf = (range: Range): number | undefined => (isLog(range) ? undefined : countOf(range))

/** The ends of a log range as logarithms. An integer has half a unit on each side, so that its ends are as likely as their neighbours. */
function logEnds({ kind, low, high }: Numbers): readonly [number, number] {
  const room = kind === 'integer' ? 0.5 : 0
  return [ln(low - room), ln(high + room)]
}

/** The value at a place of a range: 0 is its lower end. Values of lists, integers and steps have places of the same width. */
export function valueAt(range: Range, place: number): SearchValue {
  const count = countOf(range)
  if (range.kind !== 'choice' && (range.log || count === undefined)) {
    const { kind, low, high, log } = range
    const [first, last] = log ? logEnds(range) : [low, high]
    const at = first + place * (last - first)
    const value = log ? exp(at) : at
    return within(range, kind === 'integer' ? Math.round(value) : short(range, value))
  }
  const index = Math.max(0, Math.min(Math.floor(place * count!), count! - 1))
  return range.kind === 'choice' ? range.values[index]! : tidy(range.low + index * (range.step ?? 1))
}

/** The place of a value: the middle of those that `valueAt` gives it. */
export function placeOf(range: Range, value: SearchValue): number {
  const count = countOf(range)
  if (range.kind === 'choice') return (range.values.indexOf(value) + 0.5) / count!
  const [low, high] = range.log ? logEnds(range) : [range.low, range.high]
  if (!range.log && count !== undefined) return (Math.round((Number(value) - low) / (range.step ?? 1)) + 0.5) / count
  return high > low ? ((range.log ? ln(Number(value)) : Number(value)) - low) / (high - low) : 0.5
}

/** The places that have the same value as this one: from, to. Both are the place itself where every place has its own value. */
export function cellOf(range: Range, place: number): readonly [number, number] {
  const count = countOf(range)
  if (count === undefined) return [place, place]
  if (range.kind !== 'choice' && range.log) {
    const [low, high] = logEnds(range)
    const value = Number(valueAt(range, place))
    return [(ln(value - 0.5) - low) / (high - low), (ln(value + 0.5) - low) / (high - low)]
  }
  const index = Math.max(0, Math.min(Math.floor(place * count), count - 1))
  return [index / count, (index + 1) / count]
}

/**
 * The values of a range that a grid takes. Undefined: the range has infinitely many, and does not say how many `points` a grid takes of
 * it. `points` is the number for such ranges.
 */
export function gridValues(range: Range, points?: number): readonly SearchValue[] | undefined {
  const count = countOf(range)
  if (range.kind === 'choice') return range.values
  const { kind, low, high, log, step = 1 } = range
  const number = range.points ?? (count === undefined ? points : undefined)
  if (number === undefined)
    return count === undefined ? undefined : Array.from({ length: count }, (_, index) => tidy(low + index * step))
  const [first, last] = log ? [ln(low), ln(high)] : [low, high]
  const at = (index: number): number => {
    if (index === 0) return low
    if (index === number - 1) return high
    const middle = first + (index / (number - 1)) * (last - first)
    const value = within(range, log ? exp(middle) : middle)
    return kind === 'integer' ? Math.round(value) : log ? short(range, value) : tidy(value)
  }
  return [...new Set(Array.from({ length: number }, (_, index) => at(index)))]
}
