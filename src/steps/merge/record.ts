/** The record of a merge step in the lineage. Details per tensor are in the records of the tensors. */
import { list, natural, number, object, record, text } from '../../core/json/shape.js'
import { counted } from '../../core/words.js'
import type { PlanFactoring } from '../../expr/types.js'
import type { Lines } from '../analysis.js'
import type { Factored } from '../shared/factored.js'
import type { MergeSettings, MergeStep } from './types.js'

interface SettingsRecord {
  readonly method: string
  readonly models: readonly string[]
}

/** What a merge of adapters found. */
export interface MergeFound {
  readonly adapters?: MergedAdapters
}

export interface MergedAdapters {
  /** By the name of the weight that the adapters change: the rank, and the share of the squared change that it keeps. */
  readonly modules: Readonly<Record<string, { readonly rank: number; readonly energy: number }>>
  /** In total over modules that were cut to a rank, and the least of any module. */
  readonly energy: { readonly total: number; readonly least: number }
  /** What is not in the result, with reasons. */
  readonly left?: Readonly<Record<string, string>>
}

export interface MergeRecord extends SettingsRecord {
  readonly base: string
  readonly rules?: readonly SettingsRecord[]
}

const settingsOf = ({ method, models }: MergeSettings): SettingsRecord => ({ method, models })

export const mergeRecord = ({ base, settings, rules }: MergeStep): MergeRecord => ({
  base,
  ...settingsOf(settings),
  ...(rules.length > 0 ? { rules: rules.map((rule) => settingsOf(rule.settings)) } : {}),
})

/** The findings of a merge of adapters. Without a cut to a rank, the result keeps everything. */
export function mergedAdapters(
  _step: string,
  factored: readonly Factored[],
  left: Readonly<Record<string, string>>,
): MergeFound {
  const energyOf = ({ figures: [squares, , kept] }: Factored): number => (squares > 0 ? Math.min(1, kept / squares) : 1)
  const sum = (of: (figures: Factored['figures']) => number) =>
    factored.reduce((total, { figures }) => total + of(figures), 0)
  const squares = sum(([own]) => own)
  return {
    adapters: {
      modules: Object.fromEntries(
        factored.map((one) => [one.tensor, { rank: Number(one.work.options.rank), energy: energyOf(one) }]),
      ),
      energy: {
        total: squares > 0 ? Math.min(1, sum(([, , kept]) => kept) / squares) : 1,
        least: Math.min(1, ...factored.map(energyOf)),
      },
      ...(Object.keys(left).length > 0 ? { left } : {}),
    },
  }
}

/** The ranks of merged adapters in a plan. */
export function mergedPlanLines(factorings: readonly PlanFactoring[], left: Readonly<Record<string, string>>): Lines[] {
  const ranks = factorings.map(({ work: { options } }) =>
    options.energy === undefined ? `rank ${options.rank}` : `rank up to ${options.rank} for energy ${options.energy}`,
  )
  const skipped = Object.keys(left).length
  return [
    ...[...new Set(ranks)].map((text) => ({
      text: `${text}: ${counted(ranks.filter((rank) => rank === text).length, 'module')}`,
    })),
    ...(skipped > 0 ? [{ text: `skipped: ${counted(skipped, 'tensor')}` }] : []),
  ]
}

/** A merge of adapters in one line. Undefined for other merges. */
export function mergedLine(name: string, { adapters, models }: MergeRecord & MergeFound): string | undefined {
  if (!adapters) return undefined
  const { modules, energy } = adapters
  const ranks = Object.values(modules).map(({ rank }) => rank)
  const percent = (share: number): string => `${(100 * share).toFixed(1)} %`
  return [
    `${name}: ${counted(models.length, 'adapter')} merged in ${counted(ranks.length, 'module')}, rank ${Math.max(...ranks)}`,
    ...(energy.least < 1
      ? [`keeps ${percent(energy.total)} of the result (worst module ${percent(energy.least)})`]
      : []),
    ...(adapters.left ? [`${counted(Object.keys(adapters.left).length, 'tensor')} skipped`] : []),
  ].join(', ')
}

export const readMergeRecord = object<MergeRecord & MergeFound>(
  {
    base: text,
    method: text,
    models: list(text),
    rules: list(object<SettingsRecord>({ method: text, models: list(text) })),
    adapters: object<MergedAdapters>(
      {
        modules: record(object<MergedAdapters['modules'][string]>({ rank: natural, energy: number })),
        energy: object({ total: number, least: number }),
        left: record(text),
      },
      'left',
    ),
  },
  'rules',
  'adapters',
)
