/** Records of searches for tests, without any model. */
import type { Dimension } from '../../src/recipe/search/types.js'
import { SAMPLERS } from '../../src/search/samplers/index.js'
import type { Point, SearchRecord, Trial } from '../../src/search/types.js'

export const real = (path: string, low = 0, high = 1, log = false): Dimension => ({
  path,
  range: { kind: 'real', low, high, log },
})

export interface Made {
  readonly dimensions: readonly Dimension[]
  readonly trials: number
  /** The metric; undefined: the evaluation fails. */
  readonly metric: (point: Point, index: number) => number | undefined
  readonly falls?: boolean
  readonly name?: string
}

/** A search by random points. */
export function recordOf({ dimensions, trials, metric, falls = false, name = 'accuracy' }: Made): SearchRecord {
  const made: Trial[] = []
  for (let batch = 0; made.length < trials; batch++)
    for (const point of SAMPLERS.random.propose(dimensions, { seed: 0, trials }, batch, [])) {
      const index = made.length
      const value = metric(point, index)
      const base = { index, batch, point, seconds: 1.5 }
      made.push(
        value === undefined
          ? { ...base, state: 'failed', values: {}, reason: 'the command ended with exit code 1' }
          : { ...base, state: 'done', score: falls ? -value : value, values: { [name]: value, other: 2 } },
      )
    }
  const done = made.filter(({ state }) => state === 'done')
  const best = done.reduce<Trial | undefined>(
    (one, other) => (one && one.score! >= other.score! ? one : other),
    undefined,
  )
  return {
    ...{
      recipe: 'merge.yml',
      dimensions,
      method: 'random',
      seed: 0,
      asked: trials,
      trials: made,
      end: 'trials',
      version: '1.0.0',
    },
    objective: [{ metric: name, direction: falls ? 'minimize' : 'maximize', weight: 1 }],
    ...(best
      ? { best: best.index, repeat: { score: best.score!, digest: `xxh3t:${'0'.repeat(32)}`, sameDigest: true } }
      : {}),
  }
}

export const THREE: readonly Dimension[] = [
  real('merge.weights.math'),
  real('merge.weights.code', 0.001, 10, true),
  { path: 'merge.method', range: { kind: 'choice', values: ['ties', 'linear'] } },
]

/** 40 trials over three parameters; one in ten fails. */
export const some = (): SearchRecord =>
  recordOf({
    ...{ dimensions: THREE, trials: 40, falls: true, name: 'loss' },
    metric: ([math, , method], index) =>
      index % 10 === 7 ? undefined : 2 + (Number(math) - 0.3) ** 2 + (method === 'ties' ? 0 : 0.05),
  })
