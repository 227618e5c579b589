/**
 * A small random forest over places of parameters, for the importance of parameters. Trees are grown on samples with replacement, whose draws
 * come from one seed, so the same trials give the same forest.
 */
import { uniforms } from './samplers/ranges.js'

/** Sample: places from 0 to 1, one per parameter, and the target. */
export interface Sample {
  readonly places: readonly number[]
  readonly target: number
}

/** A box of the space in which a tree predicts one value. */
export interface Leaf {
  readonly low: readonly number[]
  readonly high: readonly number[]
  readonly value: number
}

export type Tree = readonly Leaf[]

export const TREES = 48
/** Samples that a tree is grown on, at most: more cost time and change little. */
const MOST_SAMPLES = 512
const LEAST_LEAF = 2
const DEPTH = 12

interface Split {
  readonly axis: number
  readonly at: number
  /** How much smaller the sum of squared errors becomes. */
  readonly gain: number
}

const mean = (samples: readonly Sample[]): number =>
  samples.reduce((sum, { target }) => sum + target, 0) / samples.length

/** The best place to split along one axis: in the middle between two different neighbours. */
function splitAlong(samples: readonly Sample[], axis: number): Split | undefined {
  const sorted = [...samples].sort((a, b) => a.places[axis]! - b.places[axis]!)
  const centre = mean(sorted)
  const total = sorted.reduce((sum, { target }) => sum + (target - centre), 0)
  let best: Split | undefined
  let left = 0
  for (let count = 1; count < sorted.length; count++) {
    const [before, after] = [sorted[count - 1]!, sorted[count]!]
    left += before.target - centre
    if (count < LEAST_LEAF || sorted.length - count < LEAST_LEAF || before.places[axis] === after.places[axis]) continue
    const right = total - left
    const gain = (left * left) / count + (right * right) / (sorted.length - count)
    if (gain > (best?.gain ?? 1e-300)) best = { axis, at: (before.places[axis]! + after.places[axis]!) / 2, gain }
  }
  return best
}

function grow(samples: readonly Sample[], low: readonly number[], high: readonly number[], depth: number): Leaf[] {
  const leaf = [{ low, high, value: mean(samples) }]
  if (depth === 0 || samples.length < 2 * LEAST_LEAF) return leaf
  const splits = low.map((_, axis) => splitAlong(samples, axis))
  const best = splits.reduce((one, other) => ((other?.gain ?? 0) > (one?.gain ?? 0) ? other : one), undefined)
  if (!best) return leaf
  const { axis, at } = best
  const left = samples.filter(({ places }) => places[axis]! < at)
  const right = samples.filter(({ places }) => places[axis]! >= at)
  if (left.length === 0 || right.length === 0) return leaf
  return [...grow(left, low, high.with(axis, at), depth - 1), ...grow(right, low.with(axis, at), high, depth - 1)]
}

/** `samples` is not empty. */
export function forestOf(samples: readonly Sample[]): Tree[] {
  const axes = samples[0]!.places.length
  const size = Math.min(samples.length, MOST_SAMPLES)
  return Array.from({ length: TREES }, (_, tree) => {
    const chosen = uniforms(0, `tree ${tree}`, size).map((share) => samples[Math.floor(share * samples.length)]!)
    return grow(chosen, Array(axes).fill(0), Array(axes).fill(1), DEPTH)
  })
}

const volume = (leaf: Leaf, without = -1): number =>
  leaf.low.reduce((all, low, axis) => (axis === without ? all : all * (leaf.high[axis]! - low)), 1)

/** The variance of a tree's predictions over the space, and the variance of their mean along each axis (functional ANOVA). */
export function variances(tree: Tree): { readonly whole: number; readonly alone: readonly number[] } {
  const volumes = tree.map((leaf) => volume(leaf))
  const centre = tree.reduce((sum, { value }, i) => sum + volumes[i]! * value, 0)
  const whole = tree.reduce((sum, { value }, i) => sum + volumes[i]! * (value - centre) * (value - centre), 0)
  const alone = (tree[0]?.low ?? []).map((_, axis) => {
    const edges = [...new Set(tree.flatMap((leaf) => [leaf.low[axis]!, leaf.high[axis]!]))].sort((a, b) => a - b)
    const places = new Map(edges.map((edge, index) => [edge, index]))
    // What the mean changes by at each edge.
    const changes = edges.map(() => 0)
    for (const leaf of tree) {
      const part = volume(leaf, axis) * (leaf.value - centre)
      changes[places.get(leaf.low[axis]!)!]! += part
      changes[places.get(leaf.high[axis]!)!]! -= part
    }
    let [at, sum] = [0, 0]
    for (let index = 0; index + 1 < edges.length; index++) {
      at += changes[index]!
      sum += (edges[index + 1]! - edges[index]!) * at * at
    }
    return sum
  })
  return { whole, alone }
}
