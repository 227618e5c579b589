/**
 * Networks with experts, which are stored one by one or all in one tensor. Common ones come first: messages name the first
 * family that fits.
 */
import type { Family } from '../../types.js'
import { gptOss, llama4, qwenVlMoe } from './fused.js'
import { inkling } from './inkling.js'
import { axk1, axk2, ernieMoe, exaoneMoe, hunyuan3, jamba, laguna, lfmMoe, mimoFlash, qwenMoe } from './llamaLike.js'
import { mixtral, phimoe } from './mixtral.js'
import { nemotronH } from './nemotron.js'
import { ariaText, graniteMoe } from './renamed.js'
import { step } from './step.js'

export const EXPERTS: readonly Family[] = [
  qwenMoe,
  mixtral,
  llama4,
  gptOss,
  qwenVlMoe,
  ariaText,
  axk1,
  axk2,
  ernieMoe,
  exaoneMoe,
  graniteMoe,
  hunyuan3,
  inkling,
  jamba,
  laguna,
  lfmMoe,
  mimoFlash,
  nemotronH,
  phimoe,
  step,
]
