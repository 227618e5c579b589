import type { Plan } from '../../plan/types.js'
import { planDot } from './dot.js'
import { planJson } from './json.js'
import { planMermaid } from './mermaid.js'
import { type PlanSetting, planTree } from './tree.js'

export const PLAN_FORMATS = ['tree', 'json', 'mermaid', 'dot'] as const
export type PlanFormat = (typeof PLAN_FORMATS)[number]

export function formatPlan(plan: Plan, format: PlanFormat, setting: PlanSetting): string {
  switch (format) {
    case 'tree':
      return planTree(plan, setting)
    case 'json':
      return planJson(plan, setting)
    case 'mermaid':
      return planMermaid(plan)
    case 'dot':
      return planDot(plan)
  }
}
