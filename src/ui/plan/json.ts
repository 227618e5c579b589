import type { PlanView } from '../../index.js'
import { toJson } from '../text.js'

/** The plan whole, with the machine's side beside it. */
export const planJson = ({ data, threads, memory }: PlanView): string => toJson({ ...data(), threads, memory })
