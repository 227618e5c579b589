import type { Family } from '../../types.js'
import { renames } from '../renames.js'
import { hasOneOf } from '../signs.js'

/** Modules next to the language model, which transformers 5 has under `model.`. */
const BESIDE = [
  'audio_tower',
  'image_tower',
  'multi_modal_projector',
  'video_tower',
  'vision_embed_tokens',
  'vision_model',
  'vision_tower',
] as const

/** Why terge does not write the configuration of a model without its head. */
const BASE_CLASS = 'architectures names a class with a head, and another one has these names'

/** The modules of a language model without its head. */
const MODULES = ['embed_tokens', 'final_layernorm', 'layers', 'norm'] as const

export const llava: Family = {
  name: 'llava',
  title:
    'Gemma 3, LLaVA, PaliGemma, InternVL, Mistral 3, Aya Vision, Aria, GOT-OCR 2, Mllama, Fuyu, Qwen2-Audio, Voxtral (names)',
  types: [
    'aria',
    'audioflamingo3',
    'aya_vision',
    'fuyu',
    'gemma3',
    'glmasr',
    'got_ocr2',
    'internvl',
    'llava',
    'llava_next',
    'llava_next_video',
    'llava_onevision',
    'mistral3',
    'mllama',
    'musicflamingo',
    'paligemma',
    'qwen2_audio',
    'video_llava',
    'vipllava',
    'voxtral',
    'voxtral_realtime',
  ],
  isOne: hasOneOf('language_model.{rest}', 'model.language_model.{rest}'),
  forms: [
    { name: 'released', says: 'language_model.model.*, language_model.lm_head, vision_tower.*', rules: [] },
    {
      name: 'transformers-5',
      says: 'model.language_model.*, lm_head, model.vision_tower.*',
      rules: renames({
        ...Object.fromEntries(
          MODULES.map((module) => [`language_model.model.${module}.{rest}`, `model.language_model.${module}.{rest}`]),
        ),
        'language_model.lm_head.{rest}': 'lm_head.{rest}',
        image_newline: 'model.image_newline',
        ...Object.fromEntries(BESIDE.map((module) => [`${module}.{rest}`, `model.${module}.{rest}`])),
      }),
    },
    {
      name: 'base-model',
      config: () => BASE_CLASS,
      says: 'without a head, as AutoModel saves it: language_model.layers.*, vision_tower.*',
      rules: renames(
        Object.fromEntries(
          MODULES.map((module) => [`language_model.model.${module}.{rest}`, `language_model.${module}.{rest}`]),
        ),
      ),
    },
  ],
}

const TOWERS = ['vision_tower', 'image_tower', 'video_tower'] as const
const IN_TOWER = ['embeddings', 'encoder', 'head', 'post_layernorm', 'pre_layrnorm'] as const

/** Where the vision encoder is a CLIP or SigLIP model of its own, its modules were in `vision_model`. */
export const visionTower: Family = {
  name: 'vision-tower',
  title: 'CLIP and SigLIP in Gemma 3, LLaVA, PaliGemma and others (names)',
  types: ['clip_vision_model', 'siglip_vision_model'],
  forms: [
    { name: 'released', says: 'vision_tower.vision_model.*', rules: [] },
    {
      name: 'transformers-5',
      says: 'vision_tower.*',
      rules: TOWERS.flatMap((tower) =>
        IN_TOWER.flatMap((module) =>
          renames({ [`{prefix}${tower}.vision_model.${module}.{rest}`]: `{prefix}${tower}.${module}.{rest}` }),
        ),
      ),
    },
  ],
}

export const qwenVl: Family = {
  name: 'qwen2-vl',
  title: 'Qwen2-VL, Qwen2.5-VL (names)',
  types: ['qwen2_vl', 'qwen2_5_vl'],
  isOne: hasOneOf('visual.{rest}', 'model.visual.{rest}'),
  forms: [
    { name: 'released', says: 'model.layers.*, visual.*', rules: [] },
    {
      name: 'transformers-5',
      says: 'model.language_model.layers.*, model.visual.*',
      rules: renames({
        ...Object.fromEntries(
          MODULES.map((module) => [`model.${module}.{rest}`, `model.language_model.${module}.{rest}`]),
        ),
        'visual.{rest}': 'model.visual.{rest}',
      }),
    },
    {
      name: 'base-model',
      config: () => BASE_CLASS,
      says: 'without a head, as AutoModel saves it: language_model.layers.*, visual.*',
      rules: renames(
        Object.fromEntries(MODULES.map((module) => [`model.${module}.{rest}`, `language_model.${module}.{rest}`])),
      ),
    },
  ],
}
