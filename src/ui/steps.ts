/** What alignments, repairs and extractions did, a line each, from the lineage. */
import { isObject } from '../core/json/text.js'
import type { Lineage } from '../index.js'
import { counted, formatCount, printable } from './text.js'

type Described = Lineage['steps'][string]
const isNumber = (value: unknown): value is number => typeof value === 'number'

/** Of a group inside another, all of them. */
function unitsOf(groups: Readonly<Record<string, unknown>>, name: string): number {
  const group = groups[name]
  if (!isObject(group) || !isNumber(group.size)) return 0
  const outer = typeof group.inside === 'string' ? groups[group.inside] : undefined
  return isObject(outer) && isNumber(outer.size) ? group.size * outer.size : group.size
}

function rebasinLine({ model, onto, moved, groups, rotation, similarity, iterations, symmetry }: Described): string {
  const parts: string[] = []
  const all = isObject(groups) ? Object.keys(groups).reduce((sum, name) => sum + unitsOf(groups, name), 0) : 0
  if (isNumber(moved)) parts.push(`${formatCount(moved)} of ${counted(all, 'unit')} moved`)
  if (symmetry === 'orthogonal' && isObject(rotation) && isNumber(rotation.size))
    parts.push(`residual stream of ${formatCount(rotation.size)} rotated`)
  if (isObject(similarity) && isNumber(similarity.before) && isNumber(similarity.after))
    parts.push(`similarity ${similarity.before.toFixed(4)} → ${similarity.after.toFixed(4)}`)
  if (isNumber(iterations)) parts.push(counted(iterations, 'iteration'))
  return `${printable(String(model))} aligned onto ${printable(String(onto))}: ${parts.join(', ')}`
}

function repairLine(name: string, { repaired, kept }: Described): string {
  const norms = isObject(repaired) ? Object.keys(repaired).length : 0
  const left = isObject(kept) ? Object.keys(kept).length : 0
  return `${printable(name)}: ${counted(norms, 'norm')} repaired${left > 0 ? `, ${formatCount(left)} left as they are` : ''}`
}

const percent = (share: unknown): string => (isNumber(share) ? `${(100 * share).toFixed(1)} %` : 'nothing')

function extractLine(name: string, { modules, energy, left, models }: Described): string {
  const own: Described[] = isObject(modules) ? Object.values(modules as Readonly<Record<string, Described>>) : []
  const ranks = own.flatMap(({ rank }) => (isNumber(rank) ? [rank] : []))
  const { total, mean, least } = isObject(energy) ? energy : {}
  const [from, base] = Array.isArray(models) ? models.map((model) => printable(String(model))) : []
  const same = own.filter((module) => module.energy === null).length
  return [
    `${printable(name)}: ${from} − ${base} in ${counted(own.length, 'layer')}, rank ${Math.max(...ranks)}`,
    `${percent(total)} of the difference kept (by layer ${percent(mean)}, at least ${percent(least)})`,
    ...(same > 0 ? [`${formatCount(same)} without a difference`] : []),
    ...(isObject(left) ? [`${counted(Object.keys(left).length, 'tensor')} left out`] : []),
  ].join(', ')
}

/** Each rebasin, repair and extract step of a run's outputs, once. */
export function stepsText(lineages: readonly Lineage[]): string {
  const steps = new Map(lineages.flatMap(({ steps }) => Object.entries(steps)))
  const lines = [...steps].flatMap(([name, step]) =>
    step.kind === 'rebasin'
      ? [rebasinLine(step)]
      : step.kind === 'repair'
        ? [repairLine(name, step)]
        : step.kind === 'extract'
          ? [extractLine(name, step)]
          : [],
  )
  return lines.join('\n')
}
