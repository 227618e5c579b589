import { lookupMethod } from '../../methods/registry.js'
import type { Passes, TensorSettings } from '../../methods/types.js'
import type { JobMerge } from '../compile/job.js'

/** The passes of a merge, with the functions that compute their coefficients. */
export function passesFor({ rule, settings }: JobMerge): Passes {
  switch (rule.kind) {
    case 'method':
      return methodPasses(rule.method, settings)
    case 'scope': {
      // The results of a scope depend on all of its tensors together.
      const passes = methodPasses(rule.method, rule.settings)
      const { conclude: _, skip: __, ...pass } = passes.scope!.reduces[rule.pass]!
      return { ...passes, reduces: [pass] }
    }
    case 'plain':
      return { reduces: rule.reduces, map: { kernel: 'linear', coefficients: () => [] } }
  }
}

function methodPasses(name: string, settings: TensorSettings): Passes {
  const method = lookupMethod(name)
  if (!method) throw new Error(`internal: method ${name} is not in the registry`)
  return method.passes(settings)
}
