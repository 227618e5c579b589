import * as assert from 'uvu/assert'
import { identity, type Permutations } from '../../src/rebasin/apply.js'
import { generator, shuffled } from '../../src/rebasin/order.js'
import type { Spec } from '../../src/rebasin/spec.js'
import type { Model } from './load.js'

/** A model of random numbers: norms' weights and variances are positive. */
export function randomModel(seed: number, shapes: Record<string, readonly number[]>): Model {
  const random = generator(seed)
  return new Map(
    Object.entries(shapes).map(([name, shape]) => {
      const count = shape.reduce((product, n) => product * n, 1)
      const lift = /norm|bn|var|ln_/i.test(name) ? 0.5 : -0.5
      return [name, { dtype: 'F32', shape, values: Float32Array.from({ length: count }, () => random() + lift) }]
    }),
  )
}

/** Some permutation of every group. */
export function anyPermutation(spec: Spec, seed: number): Permutations {
  const perms = identity(spec)
  let key = 0
  for (const [name, { size }] of Object.entries(spec.groups)) {
    const perm = perms[name]!
    for (let run = 0; run < perm.length; run += size) {
      const places = Array.from({ length: size }, (_, i) => i)
      perm.set(shuffled(places, seed, key++), run)
    }
  }
  return perms
}

export function near(x: ArrayLike<number>, y: ArrayLike<number>, tolerance: number): void {
  assert.is(x.length, y.length)
  for (let i = 0; i < x.length; i++) assert.ok(Math.abs(x[i]! - y[i]!) < tolerance, `${x[i]} and ${y[i]}`)
}
