/** Values per block of a UNet: `{mbw: [25 numbers], base: NUMBER}`, or 26 numbers with BASE first. */
import { quote } from '../../core/suggest.js'
import type { Value } from '../../expr/values.js'
import { type Cursor, entriesOf, get, gradientOf, isMapping, numberOf } from '../../language/cursor.js'
import type { Faults } from '../../language/faults.js'
import type { Report } from '../../language/report.js'
import { listOf, object, type Schema } from '../../language/schemaParts.js'
import type { BlockValues, Gradient, ParameterValue, RecipeHead } from '../../language/types.js'
import { blockName, shortened, type UnetBlocks, unetBlocks } from '../../networks/unetBlocks.js'
import type { MergeSettings, MergeStep } from './types.js'

/** Numbers of blocks: Stable Diffusion 1 and 2, and SDXL. */
const COUNTS = [25, 19]

export const blocksSchema: Schema = object(
  {
    mbw: {
      ...listOf({ type: 'number' }),
      title: 'a list of numbers',
      description:
        'One number per block: 25 for Stable Diffusion 1 and 2 (IN00 to IN11, M00, OUT00 to OUT11), 19 for SDXL (IN00 to IN08, M00, OUT00 to OUT08). With one more, the first is BASE.',
    },
    base: {
      type: 'number',
      description: 'The number for all other tensors: text encoders and VAE. Required if the list has no BASE.',
    },
  },
  ['mbw'],
  'Numbers per block of the UNet of Stable Diffusion (merge block weighted).',
)

/** Whether a value is a mapping of blocks, and not of models. */
export const isBlocks = (at: Cursor): boolean => isMapping(at) && get(at, 'mbw') !== undefined

/** A number, a list over layers, or numbers per block. Undefined after an error, or if it is something else. Error: `block-weights`. */
export const readGradient = (at: Cursor, report: Report): Gradient | undefined =>
  isBlocks(at) ? readBlocks(at, report) : gradientOf(at)

function readBlocks(at: Cursor, report: Report): BlockValues | undefined {
  const list = get(at, 'mbw')!
  const numbers = gradientOf(list)
  const written = get(at, 'base')
  const base = numberOf(written)
  const foreign = entriesOf(at).find(([key]) => key !== 'mbw' && key !== 'base')
  const wrong = (message: string, hint: string, where = list): undefined => {
    report.error('block-weights', message, where.path, { hint })
    return undefined
  }
  const forms = 'write 25 numbers for Stable Diffusion 1 and 2, 19 for SDXL, or one more with BASE first'
  if (foreign) return wrong(`${quote(foreign[0])} is not a key of block weights`, 'write mbw and base', foreign[1])
  if (!numbers || (written && base === undefined)) return wrong('mbw must be a list of numbers', forms)
  const without = COUNTS.includes(numbers.length)
  if (!without && !COUNTS.includes(numbers.length - 1)) return wrong(`mbw has ${numbers.length} numbers`, forms)
  if (!without && base !== undefined)
    return wrong(`mbw has ${numbers.length} numbers, of which the first is BASE`, 'remove base', written)
  if (without && base === undefined)
    return wrong(
      `mbw has ${numbers.length} numbers, and none of them is for tensors outside blocks`,
      'add base: NUMBER, or write BASE as the first number',
    )
  return without ? { blocks: numbers, rest: base! } : { blocks: numbers.slice(1), rest: numbers[0]! }
}

/** The numbers of a mapping of blocks, with their places. */
export const numbersIn = (at: Cursor): Cursor[] =>
  ['mbw', 'base'].flatMap((key) => {
    const part = get(at, key)
    if (part?.node.kind !== 'list') return part ? [part] : []
    return part.node.items.map((node, index) => ({ node, path: [...part.path, index] }))
  })

const blocksIn = (gradient: Gradient): BlockValues[] => ('blocks' in gradient ? [gradient] : [])

function blocksOf(value: ParameterValue): BlockValues[] {
  if (value.kind === 'gradient') return blocksIn(value.value)
  return value.kind === 'per-model' ? [...value.values.values()].flatMap(blocksIn) : []
}

/**
 * The blocks of the base, if a merge has values per block. Error: `block-weights` if the base has no UNet, or one with
 * another number of blocks.
 */
export function blocksFor(
  { placeOf }: RecipeHead,
  step: MergeStep,
  base: Value,
  faults: Faults,
): UnetBlocks | undefined {
  const used = [step.settings, ...step.rules.map(({ settings }) => settings)].flatMap(placed)
  if (used.length === 0) return undefined
  const found = unetBlocks(base.tensors)
  for (const { values, at } of used) {
    if (found?.count === values.blocks.length) continue
    const last = blockName(values.blocks.length - 1, values.blocks.length)
    const message = found
      ? `mbw has ${values.blocks.length} numbers, up to ${last}, but the UNet of ${step.base} has ${found.count} blocks, up to ${blockName(found.count - 1, found.count)}`
      : `${step.base} has no UNet of Stable Diffusion, so it has no blocks for mbw`
    const fewer = found && found.count < values.blocks.length ? fewerBlocks(values, found.count) : undefined
    faults.error('block-weights', message, placeOf(at), fewer ?? 'write rules with patterns instead of mbw')
    return undefined
  }
  return found
}

const placed = ({ weights, weightsAt, parameters }: MergeSettings) => [
  ...weights.flatMap(blocksIn).map((values) => ({ values, at: weightsAt })),
  ...[...parameters.values()].flatMap(({ value, at }) => blocksOf(value).map((values) => ({ values, at }))),
]

/** Weights of Stable Diffusion 1 for SDXL. */
const fewerBlocks = ({ blocks, rest }: BlockValues, count: number): string =>
  `other tools drop blocks from such a list: mbw: [${shortened([rest, ...blocks], count).join(', ')}]`
