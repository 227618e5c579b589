import type { PlanView } from '../../index.js'
import { toJson } from '../text.js'

/** The whole plan, with threads and memory of this machine. */
export const planJson = ({ data, threads, memory, limit, downloads }: PlanView): string =>
  toJson({ ...data(), threads, memory, memory_limit: limit, ...(downloads ? { downloads: inJson(downloads) } : {}) })

const inJson = ({
  bytes,
  leastDisk,
  neededFor,
  bytesAtLeast,
  diskForOnce,
  bounded,
}: NonNullable<PlanView['downloads']>) => ({
  ...{ bytes, least_disk: leastDisk, needed_for: neededFor },
  bytes_at_least_disk: bytesAtLeast,
  ...(diskForOnce === undefined ? {} : { disk_for_each_once: diskForOnce }),
  ...(bounded ? { with_disk: bounded } : {}),
})
