import type { PlanView } from '../../index.js'
import { toJson } from '../text.js'

/** The whole plan, with threads and memory of this machine. */
export const planJson = ({ data, threads, memory, limit }: PlanView): string =>
  toJson({ ...data(), threads, memory, memory_limit: limit })
