/** All kinds of updates. */
import type { Kind, KindName } from '../types.js'
import { bias } from './bias.js'
import { lora } from './lora.js'

const KINDS: Readonly<Record<KindName, Kind>> = { lora, bias }

export const kindOf = (name: KindName): Kind => KINDS[name]
