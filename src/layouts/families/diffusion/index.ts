/** Families of diffusion models. */
import type { Family } from '../../types.js'
import { flux } from './flux.js'
import { sd2, sd15, sdxl, sdxlRefiner } from './stableDiffusion.js'
import { sdVae } from './vae.js'

export const DIFFUSION: readonly Family[] = [flux, sd15, sd2, sdVae, sdxl, sdxlRefiner]
