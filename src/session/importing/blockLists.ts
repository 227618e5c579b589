/** Lists of block weights as other tools write them: numbers, files of presets, and what SuperMerger notes in a merged file. */
import { parseJson } from '../../core/json/text.js'
import { quote } from '../../core/suggest.js'

/** By name. A text that is a list alone has the empty name. */
export type Presets = ReadonlyMap<string, readonly number[]>

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i

/** Numbers separated by commas, spaces or lines. Undefined if anything else is among them. */
export function numberList(text: string): readonly number[] | undefined {
  const words = text.split(/[\s,;]+/).filter((word) => word !== '')
  return words.length > 1 && words.every((word) => NUMBER.test(word)) ? words.map(Number) : undefined
}

/** A list, or one preset per line: `NAME`, a tab or a colon, and the numbers. Lines without numbers are skipped. */
export function presetsIn(text: string): Presets {
  const whole = numberList(text.replace(/^\ufeff/, ''))
  if (whole) return new Map([['', whole]])
  const presets = new Map<string, readonly number[]>()
  for (const line of text.split(/\r?\n/)) {
    const [, name, rest] = /^\ufeff?\s*([^\t:]+?)\s*[\t:](.*)$/.exec(line) ?? []
    const numbers = rest === undefined ? undefined : numberList(rest)
    if (numbers) presets.set(name!, numbers)
  }
  return presets
}

/** What a merged file says of its merge, or why it can't be a recipe. */
export interface NotedMerge {
  readonly numbers: readonly number[]
  /** Whether the difference of two models was added to a third. */
  readonly difference: boolean
}

/** Reads `sd_merge_recipe` of a file's metadata, as SuperMerger writes it. A string says why it is not converted. */
export function notedMerge(metadata: string): NotedMerge | string {
  let noted: unknown
  try {
    noted = parseJson(metadata)
  } catch (error) {
    return `its sd_merge_recipe is not JSON: ${(error as Error).message}`
  }
  if (typeof noted !== 'object' || noted === null) return 'its sd_merge_recipe is not a mapping'
  const {
    weights_alpha_orig: written,
    mbw,
    mode,
    calcmode,
    elemental_merge,
  } = noted as Readonly<Record<string, unknown>>
  const kind = /^(Weight sum|Add)/.exec(String(mode))?.[1]
  if (kind === undefined) return `it was merged in the mode ${quote(String(mode))}`
  if (calcmode !== undefined && calcmode !== 'normal')
    return `it was merged with the calculation ${quote(String(calcmode))}`
  if (elemental_merge !== undefined && String(elemental_merge) !== '')
    return 'it was merged with other weights for some elements'
  const numbers = mbw === true ? numberList(String(written)) : undefined
  return numbers ? { numbers, difference: kind === 'Add' } : 'it was merged without weights per block'
}
