/** The record of a merge step in the lineage. Details per tensor are in the records of the tensors. */
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
