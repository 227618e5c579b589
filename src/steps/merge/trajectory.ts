/**
 * Weights of the checkpoints of one training run, oldest first: what a learning rate that decays in this shape would have made of
 * the same gradients. They add up to 1.
 * Sources: arXiv 2505.12082 (equations 3 to 5), arXiv 2507.17634 (theorem 3.1).
 */
import { quote } from '../../core/suggest.js'
import { eitherOf } from '../../core/words.js'
import { type Cursor, entriesOf, get, numberOf, textOf } from '../../language/cursor.js'
import type { Report } from '../../language/report.js'

/** By name: the weights of n checkpoints. */
const SHAPES: Readonly<Record<string, (n: number, decay: number) => number[]>> = {
  /** 1/n: a linear decay to 0. */
  uniform: (n) => Array.from({ length: n }, () => 1 / n),
  /** M_1 = x_1, M_i = (1 − d)·x_i + d·M_(i−1). */
  ema(n, decay) {
    const weights: number[] = []
    for (let power = 1, i = n - 1; i >= 0; i--, power *= decay) weights[i] = i === 0 ? power : (1 - decay) * power
    return weights
  },
  /** i / Σ i. */
  linear: (n) => Array.from({ length: n }, (_, i) => (2 * (i + 1)) / (n * (n + 1))),
  /** √(i/n) − √((i − 1)/n), so that the gradients between checkpoints weigh 1 − √(i/n): the oldest weighs most. */
  sqrt: (n) => Array.from({ length: n }, (_, i) => Math.sqrt((i + 1) / n) - Math.sqrt(i / n)),
}

export const SHAPE_NAMES: readonly string[] = Object.keys(SHAPES)

/** Whether `weights` is a shape. A model may be named shape too: its weight is no text. */
export const isShape = (at: Cursor): boolean => textOf(get(at, 'shape')) !== undefined

/**
 * The weights of `count` checkpoints, oldest first. Undefined after an error: `bad-weights`.
 */
export function readShape(at: Cursor, count: number, report: Report): number[] | undefined {
  const [name, decay] = [textOf(get(at, 'shape')) ?? '', get(at, 'decay')]
  const shape = SHAPES[name]
  const complain = (message: string, { path }: Cursor, hint?: string): undefined => {
    report.error('bad-weights', message, path, { hint })
    return undefined
  }
  if (!shape || !Object.hasOwn(SHAPES, name))
    return complain(`the shape of weights must be ${eitherOf([...SHAPE_NAMES])}`, get(at, 'shape') ?? at)
  const other = entriesOf(at).find(([key]) => key !== 'shape' && key !== 'decay')
  if (other)
    return complain(`weights with a shape have no key ${quote(other[0])}`, other[1], 'write either a shape or numbers')
  if (name !== 'ema')
    return decay ? complain(`the shape ${name} has no decay`, decay, 'remove it, or write shape: ema') : shape(count, 0)
  const value = numberOf(decay)
  if (value === undefined || value < 0 || value > 1)
    return complain('the decay of ema must be a number from 0 to 1', decay ?? at, 'write decay: 0.9')
  return shape(count, value)
}
