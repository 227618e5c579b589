import type { Architecture } from '../architecture.js'
import { CONVOLUTIONAL } from './convolutional.js'
import { DIFFUSERS } from './diffusers.js'
import { INCEPTIONS } from './inception.js'
import { RESIDUAL } from './residual.js'
import { VISION_TRANSFORMERS } from './visionTransformers.js'

export const ARCHITECTURES: readonly Architecture[] = [
  ...CONVOLUTIONAL,
  ...DIFFUSERS,
  ...INCEPTIONS,
  ...RESIDUAL,
  ...VISION_TRANSFORMERS,
]
