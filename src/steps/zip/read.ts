import { compilePattern } from '../../core/patterns.js'
import { quote } from '../../core/suggest.js'
import { type Cursor, entriesOf, get, isMapping, itemsOf, numberOf, textOf } from '../../language/cursor.js'
import type { Report } from '../../language/report.js'
import type { LocatedPattern } from '../../language/types.js'
import { readPatterns } from '../merge/read.js'
import { filesByModel } from '../rebasin/measured/read.js'
import { readSpec } from '../rebasin/spec/read.js'
import type { Reading, StepDraft } from '../types.js'
import type { UnmergeMode, Width, WidthRule, ZipStep } from './types.js'

const WORDS = ['larger', 'smaller', 'sum', 'keep'] as const

export function readZip({ name, at }: StepDraft, { scope, use }: Reading): ZipStep {
  const { report } = scope
  const listed = itemsOf(get(at, 'models'))
  const models = listed.map(use)
  const twice = models.findIndex((model, index) => model !== '' && models.indexOf(model) < index)
  if (twice >= 0)
    report.error('contradiction', `zip lists ${quote(models[twice]!)} twice`, listed[twice]!.path, {
      hint: 'list each model once',
    })
  const method = textOf(get(at, 'method')) === 'pleas' ? 'pleas' : 'zipit'
  if (method === 'pleas' && listed.length > 2)
    report.error('contradiction', 'pleas merges two models', [...at.path, 'models'], {
      part: 'key',
      hint: 'list two models, or use method: zipit',
    })
  for (const key of ['penalty', 'within'])
    if (method === 'pleas' && get(at, key))
      report.error('contradiction', `pleas has no ${quote(key)}`, [...at.path, key], {
        part: 'key',
        hint: `remove it, or use method: zipit`,
      })
  const statistics = get(at, 'statistics')
  const unmerge = (textOf(get(at, 'unmerge')) ?? 'auto') as UnmergeMode
  if (unmerge === 'least-squares' && !statistics)
    report.error('missing-key', 'least-squares needs the activations of all models', [...at.path, 'unmerge'], {
      hint: 'write statistics: {MODEL: FILE.safetensors, …}',
    })
  const names = listed.flatMap((item) => textOf(item) ?? [])
  const files = statistics && filesByModel(statistics, names, 'zip', report)
  return {
    ...{ kind: 'zip', name, at: at.path, models, method, unmerge },
    widths: readWidths(get(at, 'width'), report),
    penalty: numberOf(get(at, 'penalty')) ?? 0.3,
    within: numberOf(get(at, 'within')) ?? 1,
    heads: readPatterns(get(at, 'heads'), report),
    spec: readSpec(get(at, 'spec'), report),
    ...(files ? { statistics: files } : {}),
  }
}

function readPattern(text: string, at: Cursor, report: Report): LocatedPattern[] {
  const pattern = compilePattern(text)
  if (pattern.kind !== 'fault') return [{ pattern, at: at.path }]
  report.error('bad-pattern', pattern.message, at.path, { part: 'key' })
  return []
}

function readWidths(at: Cursor | undefined, report: Report): WidthRule[] {
  if (!at) return []
  if (!isMapping(at)) return readWidth(at, report).map((width) => ({ width, at: at.path }))
  return entriesOf(at).flatMap(([text, value]) =>
    readPattern(text, value, report).flatMap((match) =>
      readWidth(value, report).map((width) => ({ match, width, at: value.path })),
    ),
  )
}

function readWidth(at: Cursor, report: Report): Width[] {
  const number = numberOf(at)
  if (number !== undefined) return [number]
  const text = textOf(at)
  if (text === undefined) return []
  const word = WORDS.find((one) => one === text)
  if (word) return [word]
  const [, percent] = /^(\d{1,6}(?:\.\d{1,6})?) ?%$/.exec(text) ?? []
  if (Number(percent) > 0) return [{ percent: Number(percent) }]
  report.error('bad-value', `${quote(text)} is not a width`, at.path, {
    hint: 'write a number of units, larger, smaller, sum, keep, or a share of the largest model such as 120%',
  })
  return []
}
