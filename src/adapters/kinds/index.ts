/** All kinds of updates. */
import type { Kind, KindName } from '../types.js'
import { bias } from './bias.js'
import { experts } from './experts.js'
import { full } from './full.js'
import { hra } from './hra.js'
import { ia3 } from './ia3.js'
import { loha } from './loha.js'
import { lokr } from './lokr.js'
import { lora } from './lora.js'
import { oft } from './oft.js'
import { tokens } from './tokens.js'
import { tucker } from './tucker.js'

const KINDS: Readonly<Record<KindName, Kind>> = { lora, loha, lokr, tucker, full, experts, ia3, hra, oft, tokens, bias }

export const kindOf = (name: KindName): Kind => KINDS[name]
