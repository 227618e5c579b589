/** What the lineage keeps of a merge step; what it did to one tensor stands with that tensor. */
import { list, object, text } from '../../core/json/shape.js'
import type { MergeSettings, MergeStep } from './types.js'

interface SettingsRecord {
  readonly method: string
  readonly models: readonly string[]
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

export const readMergeRecord = object<MergeRecord>(
  {
    base: text,
    method: text,
    models: list(text),
    rules: list(object<SettingsRecord>({ method: text, models: list(text) })),
  },
  'rules',
)
