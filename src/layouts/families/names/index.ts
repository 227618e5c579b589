/** Networks whose tensors have other names in transformers 5 than in published checkpoints, and the same elements. */
import type { Family } from '../../types.js'
import { gptNeoxHead } from './heads.js'
import { llava, qwenVl, visionTower } from './multimodal.js'

export const NAMES: readonly Family[] = [gptNeoxHead, llava, qwenVl, visionTower]
