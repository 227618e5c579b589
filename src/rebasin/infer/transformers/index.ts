/** Transformers and other language models by the names of their tensors. */
import { albert, bert, distilbert } from './bert.js'
import { deepseek } from './deepseek.js'
import type { Family } from './family.js'
import { bloom, falcon, gpt2, gptj, gptNeo, gptNeox, hlbGpt, mpt } from './gpt.js'
import { llama } from './llama.js'
import { bart, clip, t5, whisper } from './seq2seq.js'
import { mamba, mamba2 } from './state.js'
import { openClip, timm, vit } from './vision.js'

export { describe, isHeadless } from './describe.js'
export type { Config, Family } from './family.js'
export type { Heads } from './heads.js'

/** The first one that has a tensor of the model decides: those with further tensors stand before those without. */
export const FAMILIES: readonly Family[] = [
  ...[deepseek, bart, whisper, clip, openClip, llama],
  ...[gpt2, gptj, gptNeo, gptNeox, bloom, falcon, mpt, hlbGpt],
  ...[albert, bert, distilbert, vit, timm, t5, mamba, mamba2],
]
