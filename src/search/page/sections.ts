/** The parts of the page in words: the result, what matters, and what failed. */

import { agree, plural } from '../../core/words.js'
import { card, code, escapeHtml, meter, numberText, table, tally } from '../../lineage/forms/page/html.js'
import { grouped, short } from '../../lineage/forms/page/numbers.js'
import type { Range } from '../../recipe/search/types.js'
import { doneOf } from '../done.js'
import { TREES } from '../forest.js'
import { FOREST_TRIALS, importanceOf } from '../importance.js'
import type { SearchRecord } from '../types.js'
import { slice } from './charts.js'
import { labelsOf, type Scale, valueText } from './shown.js'

const ENDS: Readonly<Record<SearchRecord['end'], string>> = {
  trials: 'All trials were made.',
  points: 'All points were tried.',
  patience: 'The search ended because no trial was better for as long as `patience` allows.',
  failures: 'The search ended because too many trials failed.',
}

function duration(seconds: number): string {
  if (seconds < 100) return `${short(Math.round(seconds * 10) / 10)} s`
  if (seconds < 6000) return `${Math.round(seconds / 60)} min`
  return `${short(Math.round(seconds / 360) / 10)} h`
}

export function summary(record: SearchRecord, scale: Scale): string {
  const { trials, best } = record
  const done = doneOf(trials)
  const failed = trials.length - done.length
  const winner = trials.find(({ index }) => index === best)
  const seconds = trials.reduce((sum, trial) => sum + trial.seconds, 0)
  const cards = [
    ...(winner ? [card(short(scale.of(winner)), `best ${escapeHtml(scale.name)}`, '#best')] : []),
    card(grouped(trials.length), agree(trials.length, 'trial', 'trials'), '#trials'),
    ...(failed > 0 ? [card(grouped(failed), 'failed', '#failures')] : []),
    card(grouped(record.dimensions.length), agree(record.dimensions.length, 'parameter', 'parameters'), '#best'),
    card(duration(seconds), 'in all trials', '#trials'),
  ]
  return `<div class="cards">${cards.join('')}</div><p class="soft">${escapeHtml(ENDS[record.end]).replace('`patience`', code('patience'))}</p>`
}

function rangeText(range: Range): string {
  if (range.kind === 'choice') return range.values.map((value) => code(valueText(value))).join(' ')
  const step = range.step === undefined ? '' : `, in steps of ${short(range.step)}`
  return `${short(range.low)} to ${short(range.high)}${range.log ? ', log' : ''}${range.kind === 'integer' ? ', integers' : ''}${step}`
}

function repeatText({ repeat, trials, best }: SearchRecord): string {
  if (!repeat) return ''
  const score = trials.find(({ index }) => index === best)?.score
  const bytes = repeat.sameDigest ? 'the same bytes' : '<b class="wrong">other bytes</b>'
  const same =
    repeat.score === score
      ? 'the same score'
      : `a score of ${numberText(repeat.score)} in place of ${score === undefined ? 'none' : numberText(score)}`
  return `<p>Made and evaluated again: ${bytes}, ${same}. ${code(repeat.digest)}</p>`
}

export function bestTrial(record: SearchRecord, scale: Scale): string {
  const { dimensions, start, trials, best } = record
  const winner = trials.find(({ index }) => index === best)
  if (!winner) return '<p>No trial succeeded.</p>'
  const heads = ['Parameter', 'Best', ...(start ? ['Recipe'] : []), 'Searched']
  const rows = dimensions.map(({ path, range }, i) => [
    code(path),
    `<b>${escapeHtml(String(winner.point[i]))}</b>`,
    ...(start ? [escapeHtml(String(start[i]))] : []),
    rangeText(range),
  ])
  const metrics = Object.entries(winner.values).map(
    ([name, value]) => `<li>${escapeHtml(name)} <b>${numberText(value)}</b></li>`,
  )
  const goals = record.objective.map(
    ({ metric, direction, weight }) => `${direction} ${code(metric)}${weight === 1 ? '' : ` × ${short(weight)}`}`,
  )
  return `<p>Trial ${winner.index}, ${escapeHtml(scale.name)} <b>${numberText(scale.of(winner))}</b>. Objective: ${goals.join(', ')}.</p>
${table(heads, rows)}${metrics.length > 0 ? `<ul class="chips">${metrics.join('')}</ul>` : ''}${repeatText(record)}`
}

const EXPLAINED = {
  anova: `The share of the variance of the score over the whole space that each parameter explains alone: functional ANOVA of a random forest of ${TREES} trees over the trials.`,
  ranks: `The size of the rank correlation (Spearman) of each parameter with the score. With ${FOREST_TRIALS} trials or more, this page uses functional ANOVA of a random forest.`,
} as const

export function importance(record: SearchRecord): string {
  const found = importanceOf(record)
  if (!found) return '<p>Too few trials succeeded.</p>'
  const show = (share: number): string => (found.kind === 'anova' ? `${(100 * share).toFixed(1)} %` : share.toFixed(2))
  const rows = record.dimensions
    .map(({ path }, i) => ({ name: code(path), share: found.shares[i]! }))
    .sort((a, b) => b.share - a.share)
  if (found.kind === 'anova' && record.dimensions.length > 1)
    rows.push({ name: 'only together', share: found.together })
  const head = found.kind === 'anova' ? 'Share' : 'Correlation'
  return `<p class="soft">${EXPLAINED[found.kind]}</p>${table(
    ['Parameter', 'Size', head],
    rows.map(({ name, share }) => [name, meter(share, 'fill above'), { number: show(share) }]),
  )}`
}

export function slices(record: SearchRecord, scale: Scale): string {
  if (doneOf(record.trials).length === 0) return ''
  const labels = labelsOf(record.dimensions)
  const figures = record.dimensions.map((dimension, i) => slice(record, dimension, i, labels[i]!, scale))
  return `<div class="beside">${figures.join('')}</div>`
}

/** Numbers of trials that are listed per reason. */
const MOST_LISTED = 20

export function failures({ trials }: SearchRecord): string {
  const failed = trials.filter(({ state }) => state === 'failed')
  if (failed.length === 0) return ''
  const reasonOf = ({ reason }: (typeof failed)[number]): string => reason ?? 'no reason was recorded'
  const rows = tally(failed, reasonOf).map(([reason, count]) => {
    const own = failed.filter((trial) => reasonOf(trial) === reason).map(({ index }) => index)
    const rest = own.length > MOST_LISTED ? ` and ${own.length - MOST_LISTED} more` : ''
    return [escapeHtml(reason), { number: grouped(count) }, own.slice(0, MOST_LISTED).join(', ') + rest]
  })
  return `<p>${plural(failed.length, 'trial')} failed and ${agree(failed.length, 'was', 'were')} skipped.</p>${table(['Reason', 'Trials', 'Numbers'], rows)}`
}
