/** What every method on tiles is put through: its scalar reference from every dtype, and the same bytes on any threads. */
import { test } from 'uvu'
import { assertAllSteady, assertReferences } from './harness.js'
import { COMPUTES, DTYPES, models } from './samples.js'

/** A method, how many models, what else is given, and shapes other than all. */
export type Sample = readonly [
  method: string,
  models: number,
  settings: Parameters<typeof models>[2],
  shapes?: Parameters<typeof models>[3],
]

export function testEveryDtype(samples: readonly Sample[]): void {
  for (const compute of COMPUTES)
    test(`the references in ${compute}, bit for bit, from every dtype`, async () => {
      const cases = samples.map(([method, count, settings, shapes]) => ({
        method,
        tensors: models(count, compute, settings, shapes),
      }))
      // The dtypes share the cases out; the executor's reading and writing of each has tests of its own.
      for (const [index, dtype] of DTYPES.entries())
        await assertReferences(
          cases.filter((_, which) => which % DTYPES.length === index),
          { dtype },
        )
    })

  test('the same bytes on one thread, on two, and read', () =>
    assertAllSteady(
      samples.map(([method, count, settings, shapes]) => ({
        method,
        tensors: models(count, 'float32', settings, shapes),
      })),
    ))
}
