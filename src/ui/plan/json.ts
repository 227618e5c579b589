import type { Plan } from '../../plan/types.js'
import { toJson } from '../text.js'
import type { PlanSetting } from './tree.js'

/** The plan whole, with the machine's side beside it. */
export const planJson = (plan: Plan, { threads, memory }: PlanSetting): string => toJson({ ...plan, threads, memory })
