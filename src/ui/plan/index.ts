import type { Plan, PlanView } from '../../index.js'
import { planDot } from './dot.js'
import { planJson } from './json.js'
import { planMermaid } from './mermaid.js'
import { planTree } from './tree.js'

export const PLAN_FORMATS = ['tree', 'json', 'mermaid', 'dot'] as const
export type PlanFormat = (typeof PLAN_FORMATS)[number]

/** `width`: the columns that the tree may have. */
export function formatPlan(plan: Plan, format: PlanFormat, view: PlanView, width = Number.POSITIVE_INFINITY): string {
  switch (format) {
    case 'tree':
      return planTree(plan, view, width)
    case 'json':
      return planJson(view)
    case 'mermaid':
      return planMermaid(plan)
    case 'dot':
      return planDot(plan)
  }
}
