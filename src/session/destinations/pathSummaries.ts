/** Summaries of paths whose points are on the hub or in a store: small files of their own. */
import path from 'node:path'
import type { OutputAddress } from '../../language/addresses.js'
import { SUMMARY } from '../../lineage/path/summary.js'
import type { Plan } from '../../plan/types.js'
import type { Destination } from '../../storage/remote/upload.js'
import { type HubHeads, openSmall } from './open.js'
import { stagingPlace } from './places.js'
import { hasPublished, notePublished } from './published.js'

/** How a run reaches the places of its outputs. */
export interface Reach {
  readonly heads: HubHeads
  readonly notice: (message: string) => void
  readonly signal?: AbortSignal | undefined
}

/** The names, in the order in which they appear. */
const NAMES = [SUMMARY.csv, SUMMARY.json]

/** The summary of one path. */
export interface RemoteSummary {
  /** The local path beside which runs note what they publish. */
  readonly local: string
  /** Errors: `output-exists`, those of the place. */
  readonly refuse: (plan: Plan, options: { readonly force: boolean; readonly resume: boolean }) => Promise<void>
  /** Removes an old one. */
  readonly drop: () => Promise<void>
  readonly write: (plan: Plan, json: string, csv: string) => Promise<void>
}

/** `point`: the local path of a point, beside which runs note what they publish. */
export function remoteSummary(address: OutputAddress, point: string, reach: Reach): RemoteSummary {
  const { heads, notice, signal } = reach
  const local = stagingPlace(address, 'folder', path.dirname(path.dirname(point)))
  let isDropped = false
  const open = (force: boolean): Promise<Destination> => openSmall(address, NAMES, { force, notice, heads })
  return {
    local,
    async refuse(plan, { force, resume }) {
      const own = resume && !force && (await hasPublished(plan, local, await open(true), signal))
      await (await open(force || own)).begin({ receipts: [], publishing: false }, signal)
    },
    async drop() {
      if (!isDropped) await (await open(true)).remove(signal)
      isDropped = true
    },
    async write({ digest }, json, csv) {
      const encoder = new TextEncoder()
      const small = [csv, json].map((text, index) => ({ name: NAMES[index]!, content: encoder.encode(text) }))
      await (await open(true)).publish([], small, signal)
      await notePublished(local, digest, [], small)
    },
  }
}
