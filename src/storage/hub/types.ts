/** Models on the Hugging Face hub. What is in its cache is used as it is; the rest is fetched into it. */
import type { Subject } from './faults.js'
import type { HubFile } from './repository.js'
import type { HubSettings } from './settings.js'

/** A file that is still to be brought into the cache. */
export interface Fetch {
  readonly settings: HubSettings
  readonly subject: Subject & { readonly commit: string }
  readonly file: HubFile
  /** Where it will lie. */
  readonly place: string
  /** What was read of its beginning, to be held against what comes. */
  readonly headerBytes: number
  readonly headerDigest: string
}
