import { get, has, isMapping } from '../../language/cursor.js'
import type { Reading, StepDraft } from '../types.js'
import type { RepairStep } from './types.js'

export function readRepair({ name, at }: StepDraft, { scope, use, uses, before }: Reading): RepairStep {
  // In the short form it repairs the merge before it.
  const merge = before?.kind === 'merge' ? before.name : undefined
  const model = get(at, 'model')
  if (!model && merge === undefined && isMapping(at)) {
    const hint = has({ node: at.node, path: [] }, 'batch_norm')
      ? 'write model: NAME, the merge step to repair'
      : undefined
    scope.report.error('missing-key', "repair needs the key 'model'", at.path, { part: 'key', hint })
  }
  if (!model && merge !== undefined) uses(merge, at)
  return { kind: 'repair', name, at: at.path, model: model ? use(model) : (merge ?? ''), batchNorm: 'correlation' }
}
