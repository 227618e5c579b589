/** The cases of fixtures/golden-tensors through the executor, for every method that they and the registry have. */
import { test } from 'uvu'
import { lookupMethod } from '../../src/methods/registry.js'
import { goldenCases } from '../reference/golden.js'
import { assertClose, mergeAll } from './harness.js'

/** Share of elements that may be off: equal magnitudes, and float32 noise of the golden's KL. */
const OFF: Readonly<Record<string, number>> = {
  ties: 1e-4,
  breadcrumbs: 1e-4,
  breadcrumbs_ties: 1e-4,
  sce: 1e-4,
  arcee_fusion: 1e-3,
}

for (const shape of ['150', '48x40'] as const)
  test(`golden ${shape}: every case, in one run`, async () => {
    const known = goldenCases(shape, 'float32').filter(({ method }) => lookupMethod(method))
    const merged = await mergeAll(known.map(({ method, given }) => ({ method, tensors: { w: given } })))
    for (const [index, { name, method, expected }] of known.entries())
      assertClose(merged[index]!.tensors.w!, expected, 2e-6, name, OFF[method] ?? 0)
  })

test.run()
