/** Models on the Hugging Face hub. Files in the cache are used directly; other files are downloaded into it. */
import type { Subject } from './faults.js'
import type { HubFile } from './repository.js'
import type { HubSettings } from './settings.js'

/** A file that still has to be downloaded into the cache. */
export interface Fetch {
  readonly settings: HubSettings
  readonly subject: Subject & { readonly commit: string }
  readonly file: HubFile
  /** Its path in the cache. */
  readonly place: string
  /** The header that was read for the plan. The downloaded file must start with it. */
  readonly headerBytes: number
  readonly headerDigest: string
}
