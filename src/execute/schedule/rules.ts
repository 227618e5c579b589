import { passesBy } from '../../methods/registry.js'
import type { Passes } from '../../methods/types.js'
import type { JobMerge } from '../compile/job.js'

/** The passes of a merge, with the functions that compute their coefficients. */
export function passesFor({ rule, settings }: JobMerge): Passes {
  switch (rule.kind) {
    case 'method':
      return passesBy(rule.method)(settings)
    case 'scope': {
      // The results of a scope depend on all of its tensors together.
      const passes = passesBy(rule.method)(rule.settings)
      const { conclude: _, skip: __, ...pass } = passes.scope!.reduces[rule.pass]!
      return { ...passes, reduces: [pass] }
    }
    case 'plain':
      return { reduces: rule.reduces, map: { kernel: 'linear', coefficients: () => [] } }
  }
}
