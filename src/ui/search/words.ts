/** Trials of a search in words. */
import type { SearchEvent, TrialData } from '../../index.js'
import { printable } from '../text.js'

/** With 5 significant digits. */
export const short = (value: number | string | boolean): string =>
  typeof value === 'number' ? String(Number(value.toPrecision(5))) : printable(String(value))

/** `loss 0.31, accuracy 0.9`. */
export const metricsText = ({ metrics }: Pick<TrialData, 'metrics'>): string =>
  Object.entries(metrics)
    .map(([name, value]) => `${printable(name)} ${short(value)}`)
    .join(', ')

/** The names of parameters: their last keys, or whole paths where these are not different. */
export function shortNames(paths: readonly string[]): string[] {
  const last = paths.map((path) => /[^.]+$/.exec(path)?.[0] ?? path)
  return paths.map((path, at) => printable(last.filter((one) => one === last[at]).length > 1 ? path : last[at]!))
}

/** `python 0.7, c 0.4`. */
export function valuesText({ parameters }: Pick<TrialData, 'parameters'>): string {
  const paths = Object.keys(parameters)
  const names = shortNames(paths)
  return paths.map((path, at) => `${names[at]} ${short(parameters[path]!)}`).join(', ')
}

/** Why a search ended. */
export const END_WORDS = {
  trials: 'all trials are done',
  points: 'all points are tried',
  patience: 'no better trial for as long as patience says',
  failures: 'too many trials failed',
} as const

export const repeatText = ({ best, end }: Extract<SearchEvent, { kind: 'repeat' }>): string =>
  `${END_WORDS[end]}; making trial ${best.trial} again: ${valuesText(best)}`
