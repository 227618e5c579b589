/** Blocks of the UNet of Stable Diffusion, as merge tools count them: input blocks, the middle block, output blocks. */
import { renamedBy } from '../layouts/families/diffusion/rules.js'
import { type UnetTraits, unetRules, unetTraits } from '../layouts/families/diffusion/unet.js'
import type { Facts } from '../layouts/types.js'

export interface UnetBlocks {
  /** 25 for Stable Diffusion 1 and 2, 19 for SDXL. */
  readonly count: number
  /** The place of a tensor's block in a list of weights: from IN00 to the last OUT block. Undefined outside blocks. */
  readonly of: (name: string) => number | undefined
}

/** Numbers of lists of block weights, by the number of input blocks. */
const INPUTS: Readonly<Record<UnetTraits['levels'], number>> = { 3: 9, 4: 12 }

/** `IN00`, `M00`, `OUT00`, by place in a list of 25 or 19 weights. */
export function blockName(place: number, count: number): string {
  const inputs = (count - 1) / 2
  const digits = (number: number): string => String(number).padStart(2, '0')
  return place < inputs ? `IN${digits(place)}` : place === inputs ? 'M00' : `OUT${digits(place - inputs - 1)}`
}

/** A list with BASE first, for a UNet with fewer blocks: without the lowest ones, as other tools shorten it. */
export function shortened(list: readonly number[], count: number): readonly number[] {
  const kept = (count - 1) / 2
  const middle = list.length / 2
  return [...list.slice(0, kept + 1), ...list.slice(middle, middle + kept + 1)]
}

/** The blocks of the UNet among a model's tensors, in an original file or in diffusers. Undefined if there is none. */
export function unetBlocks(shapes: Facts['shapes']): UnetBlocks | undefined {
  const traits = unetTraits({ config: undefined, shapes })
  if (!traits) return undefined
  const { prefix, original, levels } = traits
  const inputs = INPUTS[levels]
  const rules = unetRules({ attention: levels === 3, embedding: 'add_embedding' })
  return {
    count: 2 * inputs + 1,
    of(name) {
      if (!name.startsWith(prefix)) return undefined
      const own = name.slice(prefix.length)
      const written = original ? own : renamedBy(rules, own, 'original')
      return written === undefined ? undefined : placeOf(written, inputs, levels === 3)
    },
  }
}

/** `label`: whether the embedding of sizes belongs to the first block, as in SDXL. */
function placeOf(name: string, inputs: number, label: boolean): number | undefined {
  const [, part, number] =
    /^(input_blocks|middle_block|output_blocks|time_embed|label_emb|out)\.(\d+)\./.exec(name) ?? []
  if (part === 'input_blocks') return Number(number)
  if (part === 'middle_block') return inputs
  if (part === 'output_blocks') return inputs + 1 + Number(number)
  if (part === 'out') return 2 * inputs
  return part === 'time_embed' || (part === 'label_emb' && label) ? 0 : undefined
}
