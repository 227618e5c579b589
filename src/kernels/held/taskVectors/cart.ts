/** cart: the mean of the models, plus λ times the first `rank` singular triplets of each model's distance from it. */
import { product, transposed } from '../../dense/matrix.js'
import { fillWith, firstTriplets, narrowOf, sidesOf, sumPlaces, tall, writeTensor } from '../spectrum.js'
import type { HeldRule, HeldStep } from '../types.js'

export const cart: HeldRule = {
  layout(work) {
    const { short, long } = sidesOf(work)
    const { sum, delta, own, total } = sumPlaces(work)
    const models = work.weights.length
    const fill = { kind: 'fill' as const, onBase: false, elements: work.rows * work.columns }
    // n times the distance from the mean: of equal models exactly 0.
    const distance = (model: number) =>
      work.weights.map((_, input) => ({ input, factor: input === model ? models - 1 : -1 }))
    const mean = work.weights.map((_, input) => ({ input, factor: 1 / models }))
    return {
      bytes: total,
      operations: models * short * short * (3 * long + 6 * short),
      steps: [
        { ...fill, terms: mean, at: sum, narrow: false },
        ...work.weights.flatMap((_, stage): HeldStep[] => [
          { ...fill, terms: distance(stage), at: delta, narrow: narrowOf(work) },
          { kind: 'solve', stage },
        ]),
        { kind: 'solve', stage: models },
      ],
      result: delta,
      own,
    }
  },
  solve(team, work, stage, origin) {
    const { sum, delta } = sumPlaces(work)
    if (stage === work.weights.length) return writeTensor(team, work, origin + sum, origin + delta)
    const matrix = tall(work, origin + delta)
    const triplets = firstTriplets(team, matrix, ({ length }) => Math.min(length, Number(work.options.rank)))
    if (!triplets) return fillWith(team, { ...work, compute: 'f64' }, origin + sum, Number.NaN)
    const { vectors, room: projection } = triplets
    if (vectors.rows === 0) return undefined
    product(team, projection, transposed(vectors), vectors, { symmetric: true })
    product(team, tall(work, origin + sum, false), matrix, projection, {
      scale: work.scale / work.weights.length,
      add: true,
    })
  },
}
