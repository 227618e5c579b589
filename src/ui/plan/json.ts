import type { Plan, PlanView } from '../../index.js'
import { toJson } from '../text.js'

/** The plan whole, with the machine's side beside it. */
export const planJson = (plan: Plan, { threads, memory }: PlanView): string => toJson({ ...plan, threads, memory })
