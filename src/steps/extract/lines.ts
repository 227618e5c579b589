/** Extractions as text for people: before the run, after it, and for the model card. */
import { counted, formatCount } from '../../core/words.js'
import type { PlanFactoring } from '../../expr/types.js'
import type { Lines } from '../analysis.js'
import type { UsesRecord } from '../types.js'
import type { ExtractRecord } from './types.js'

/** Counts equal texts, the most frequent first. */
function byCount(texts: readonly string[]): Lines[] {
  const counts = new Map<string, number>()
  for (const text of texts) counts.set(text, (counts.get(text) ?? 0) + 1)
  return [...counts].sort(([, a], [, b]) => b - a).map(([text, count]) => ({ text: `${text}: ${formatCount(count)}` }))
}

/** Layers by rank and method, and the skipped tensors. */
export function extractionLines(factorings: readonly PlanFactoring[], left: Readonly<Record<string, string>>): Lines[] {
  const reasons = Object.values(left)
  return [
    ...byCount(
      factorings.map(({ work: { options } }) => {
        const { rank, method, energy, above } = options
        const limits = [
          ...(energy === undefined ? [] : [`for energy ${energy}`]),
          ...(above === undefined ? [] : [`for singular values above ${above}`]),
        ]
        return limits.length === 0 ? `rank ${rank}, ${method}` : `rank up to ${rank} ${limits.join(' and ')}, ${method}`
      }),
    ),
    ...(reasons.length > 0
      ? [{ text: `skipped: ${counted(reasons.length, 'tensor')}`, branches: byCount(reasons) }]
      : []),
  ]
}

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`

export function extractedLine(name: string, { modules, energy, left, models }: ExtractRecord & UsesRecord): string {
  const own = Object.values(modules)
  const [from, base] = models
  const most = own.reduce((rank, module) => Math.max(rank, module.rank), 0)
  const known = own.flatMap((module) => (module.energy === null ? [] : [module.energy])).sort((a, b) => a - b)
  const same = own.length - known.length
  const middle = known.length >> 1
  const median =
    known.length === 0
      ? energy.mean
      : known.length % 2 === 1
        ? known[middle]!
        : (known[middle - 1]! + known[middle]!) / 2
  return [
    `${name}: ${from} − ${base} in ${counted(own.length, 'layer')}, rank ${most}`,
    `explains ${percent(energy.total)} of the difference (median layer ${percent(median)}, worst ${percent(energy.least)})`,
    ...(same > 0 ? [`${formatCount(same)} without a difference`] : []),
    ...(left ? [`${counted(Object.keys(left).length, 'tensor')} skipped`] : []),
  ].join(', ')
}

/** `plain`: escapes a name for Markdown. */
export function adapterSentence(
  { models, energy }: ExtractRecord & UsesRecord,
  plain: (name: string) => string,
): string {
  const [from = '', base = ''] = models.map(plain)
  return `Applied to ${base}, it approximates ${from}. It explains ${percent(energy.total)} of the squared difference in the adapted layers.`
}
