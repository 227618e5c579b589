import path from 'node:path'
import { addressIn } from '../core/names/fileNames.js'
import { formatSize } from '../core/sizes.js'
import { counted, formatCount } from '../core/words.js'
import type { Lineage } from '../index.js'
import { pathText } from './path.js'
import { stepsText } from './steps.js'
import { printable } from './text.js'

/** A path as the user would write it from `folder`: relative if it is below. Addresses are unchanged. */
export function shownPath(file: string, folder: string): string {
  if (addressIn(file) !== undefined) return printable(file)
  const relative = path.relative(folder, file)
  const below =
    relative !== '' && relative !== '..' && !relative.startsWith(`..${path.sep}`) && !path.isAbsolute(relative)
  return printable(below ? relative : file)
}

interface Written {
  readonly path: string
  readonly lineagePath: string
  readonly lineage: Lineage
  readonly bytes: number
}

const figures = ({ evaluations }: Lineage): string =>
  Object.entries(evaluations ?? {})
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `${printable(name)} ${Number(value.toPrecision(4))}`)
    .join(', ')

function outputLine({ path: file, lineagePath, lineage, bytes }: Written, folder: string): string {
  const { tensors, dropped, permutations } = lineage.output
  const cropped = Object.values(lineage.tensors).filter((tensor) => tensor.cropped).length
  const part = cropped > 0 ? ` (${formatCount(cropped)} cropped to common rows)` : ''
  const what = dropped ? 'evaluated, not kept' : `${counted(tensors, 'tensor')}${part}, ${formatSize(bytes)}`
  const measured = figures(lineage)
  const beside = permutations
    ? `, permutations in ${shownPath(path.join(path.dirname(file), permutations.name), folder)}`
    : ''
  return `${shownPath(file, folder)}: ${what}${measured === '' ? '' : `, ${measured}`}; lineage in ${shownPath(lineagePath, folder)}${beside}`
}

/** What a run did: one line per alignment, repair or extraction, one per output, and plots of paths. `width` in columns. */
export function runText(
  { outputs, summaries }: { readonly outputs: readonly Written[]; readonly summaries: readonly string[] },
  folder: string,
  width: number,
): string {
  const lineages = outputs.map(({ lineage }) => lineage)
  const lines = [stepsText(lineages, width), ...outputs.map((output) => outputLine(output, folder))]
  const measured = pathText(lineages, width)
  const written = summaries.map((file) => shownPath(file, folder)).join(', ')
  const parts = [
    lines.filter((line) => line !== '').join('\n'),
    measured,
    written === '' ? '' : `summary in ${written}`,
  ]
  return parts.filter((part) => part !== '').join('\n\n')
}
