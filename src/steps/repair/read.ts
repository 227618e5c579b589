import { type Cursor, get, has, isMapping, textOf } from '../../language/cursor.js'
import type { Reading, StepDraft } from '../types.js'
import type { BatchNormRepair, RepairStep } from './types.js'

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
  const own = model ? use(model) : (merge ?? '')
  return { kind: 'repair', name, at: at.path, model: own, batchNorm: readBatchNorm(at, [own]) }
}

/** `points`: names of the models to repair. Each one's name replaces `{point}` in the path. */
export function readBatchNorm(at: Cursor, points: readonly string[]): BatchNormRepair {
  const file = get(get(at, 'batch_norm'), 'statistics')
  const path = textOf(file)
  if (!file || path === undefined) return 'correlation'
  return {
    statistics: points.map((point) => ({ of: point, file: path.replaceAll('{point}', point), at: file.path })),
  }
}
