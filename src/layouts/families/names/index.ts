/** Networks whose tensors have other names or orientations in one library than in another, and the same elements. */
import type { Family } from '../../types.js'
import { jina, nomicBert } from './embedders.js'
import { gpt2 } from './gpt2.js'
import { gte } from './gte.js'
import { gptNeoxHead } from './heads.js'
import { kimi } from './kimi.js'
import { llava, qwenVl, visionTower } from './multimodal.js'
import { layerNorm, multiheadAttention, weightNorm } from './others.js'
import { bert, clipText, clipVision } from './prefixes.js'
import { dinov2, vit } from './vision.js'

export const NAMES: readonly Family[] = [
  layerNorm,
  bert,
  clipText,
  clipVision,
  dinov2,
  gpt2,
  gptNeoxHead,
  gte,
  jina,
  llava,
  kimi,
  multiheadAttention,
  nomicBert,
  qwenVl,
  visionTower,
  vit,
  weightNorm,
]
