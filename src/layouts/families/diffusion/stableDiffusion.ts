/** Stable Diffusion 1, 2 and XL: one original file, or a folder with modules of diffusers. */
import type { Facts, Family, LayoutRule, Settings } from '../../types.js'
import { sd15Unet, sdxlUnet, shapedSettings } from './configs.js'
import { diffusersRules, type Module, ONLY, originalRules } from './rules.js'
import { clipModule, openClipModule, UNUSED_LAYER } from './text.js'
import { type UnetTraits, unetRules, unetTraits } from './unet.js'
import { fitsVae, isOldVae, oldVaeName, vaeModule } from './vae.js'

interface Kind {
  readonly name: string
  readonly title: string
  readonly is: (traits: UnetTraits) => boolean
  readonly unet: Parameters<typeof unetRules>[0]
  readonly text: readonly Module[]
  /** The configuration of the published UNet, if it is certain. */
  readonly config?: (shapes: Facts['shapes']) => Settings | string
  /** Rules of an original file that come before those of the modules. */
  readonly first?: readonly LayoutRule[]
}

const VAE = vaeModule('first_stage_model.', 'vae.')

function familyOf({ name, title, is, unet, text, first = [], config }: Kind): Family {
  const unetModule: Module = { rules: unetRules(unet), original: 'model.diffusion_model.', diffusers: 'unet.' }
  const isOld = (facts: Facts): boolean => isOldVae(facts, VAE.diffusers)
  const others = [unetModule, ...text]
  const modules = [unetModule, VAE, ...text].map(({ diffusers }) => diffusers.slice(0, -1))
  const pipeline = { kind: 'modules', modules, said: shapedSettings } as const
  return {
    ...{ name, title, types: [], byNames: true },
    isOne: (facts) => {
      const traits = unetTraits(facts)
      return traits !== undefined && is(traits) && fitsVae(facts, traits.original ? VAE.original : VAE.diffusers)
    },
    forms: [
      {
        name: 'original',
        says: `one file: ${[unetModule, VAE, ...text].map(({ original }) => original).join(', ')}`,
        rules: [...first, ...[...others, VAE].flatMap((module) => originalRules(module))],
        only: ONLY,
        storage: { kind: 'file' },
      },
      {
        name: 'diffusers',
        says: `a folder with modules: ${modules.join(', ')}`,
        rules: [...others, VAE].flatMap((module) => diffusersRules(module)),
        fits: (facts) => !isOld(facts),
        only: ONLY,
        storage: pipeline,
      },
      {
        name: 'diffusers-old',
        says: 'as in diffusers before 0.15: the attention of the VAE is query, key, value and proj_attn',
        rules: [
          ...others.flatMap((module) => diffusersRules(module)),
          ...diffusersRules(VAE, VAE.diffusers, oldVaeName),
        ],
        fits: isOld,
        only: ONLY,
        storage: pipeline,
      },
      {
        name: 'unet',
        says: 'a UNet of diffusers alone: down_blocks.N',
        rules: diffusersRules(unetModule, ''),
        only: ONLY,
        storage: { kind: 'module', module: 'unet', said: shapedSettings, ...(config ? { config } : {}) },
      },
      {
        name: 'unet-original',
        says: 'an original UNet alone, without a prefix: input_blocks.N',
        rules: originalRules(unetModule, ''),
        only: ONLY,
        storage: { kind: 'file' },
      },
    ],
  }
}

export const sd15 = familyOf({
  name: 'sd15',
  title: 'Stable Diffusion 1',
  is: ({ levels, attention, embedding, linear }) => levels === 4 && attention && !embedding && !linear,
  unet: { attention: false },
  text: [clipModule('cond_stage_model.transformer.', 'text_encoder.')],
  config: sd15Unet,
})

export const sd2 = familyOf({
  name: 'sd2',
  title: 'Stable Diffusion 2',
  is: ({ levels, attention, embedding, linear }) => levels === 4 && attention && !embedding && linear,
  unet: { attention: false },
  text: [openClipModule('cond_stage_model.model.', 'text_encoder.', false)],
  first: [UNUSED_LAYER],
})

export const sdxl = familyOf({
  name: 'sdxl',
  title: 'Stable Diffusion XL',
  is: ({ levels, attention, embedding }) => levels === 3 && !attention && embedding,
  unet: { attention: true, embedding: 'add_embedding' },
  text: [
    clipModule('conditioner.embedders.0.transformer.', 'text_encoder.'),
    openClipModule('conditioner.embedders.1.model.', 'text_encoder_2.', true),
  ],
  config: sdxlUnet,
})

export const sdxlRefiner = familyOf({
  name: 'sdxl-refiner',
  title: 'Refiner of Stable Diffusion XL',
  is: ({ levels, attention, embedding }) => levels === 4 && !attention && embedding,
  unet: { attention: false, embedding: 'add_embedding' },
  text: [openClipModule('conditioner.embedders.0.model.', 'text_encoder_2.', true)],
})
