import type { Plan } from '../../plan/types.js'
import { toJson } from '../text.js'
import type { PlanSetting } from './tree.js'

/** The plan whole, headers by their length, with the machine's side beside it. */
export function planJson(plan: Plan, setting: PlanSetting): string {
  const outputs = plan.outputs.map(({ files, index, ...output }) => ({
    ...output,
    files: files.map(({ name, size, header }) => ({ name, size, headerBytes: header.length })),
    ...(index ? { index: index.name } : {}),
  }))
  return toJson({ ...plan, outputs, threads: setting.threads, memory: setting.memory })
}
