/** The `statistics` key of an alignment: files with activations, by model. */
import { didYouMean, quote } from '../../../core/suggest.js'
import { type Cursor, entriesOf, get, has, isMapping, textOf } from '../../../language/cursor.js'
import type { Scope } from '../../../language/names.js'
import type { Report } from '../../../language/report.js'
import type { MeasuredFile } from '../../../language/types.js'
import type { RebasinStep } from '../types.js'

const usesActivations = (method: RebasinStep['method']): boolean =>
  method === 'activation-matching' || method === 'mixed'

/** The files by the names in the recipe: a model's name says whose activations they are. */
export function readActivations(
  at: Cursor,
  method: RebasinStep['method'],
  { report }: Scope,
): readonly MeasuredFile[] | undefined {
  const statistics = get(at, 'statistics')
  if (!isMapping(at) || (has(at, 'models') && usesActivations(method))) return undefined
  if (!statistics) {
    if (usesActivations(method))
      report.error('missing-key', `${method} needs the activations of both models`, at.path, {
        part: 'key',
        hint: 'write statistics: {MODEL: FILE.safetensors, ONTO: FILE.safetensors}',
      })
    return undefined
  }
  if (!usesActivations(method)) {
    const hint = 'write method: activation-matching or mixed, or remove statistics'
    report.error('contradiction', `${method} does not use statistics`, statistics.path, { part: 'key', hint })
    return undefined
  }
  const names = ['model', 'onto'].flatMap((key) => textOf(get(at, key)) ?? [])
  return filesByModel(statistics, names, 'rebasin', report)
}

/** The files of these models, in their order. */
export function filesByModel(
  statistics: Cursor,
  names: readonly string[],
  kind: string,
  report: Report,
): readonly MeasuredFile[] {
  const files: MeasuredFile[] = []
  for (const [name, file] of entriesOf(statistics)) {
    if (!names.includes(name))
      report.error('unknown-model', `${quote(name)} is not one of the models of this ${kind}`, file.path, {
        part: 'key',
        hint: didYouMean(name, names, 'models'),
      })
    else files.push({ of: name, file: textOf(file) ?? '', at: file.path })
  }
  for (const name of names)
    if (!files.some(({ of }) => of === name))
      report.error('missing-key', `statistics has no file for ${quote(name)}`, statistics.path, {
        part: 'key',
        hint: `write ${name}: FILE.safetensors`,
      })
  for (const [index, second] of files.entries()) {
    const first = files.slice(0, index).find(({ file }) => file === second.file)
    if (first)
      report.error(
        'bad-statistics',
        `${quote(first.of)} and ${quote(second.of)} have the same activations file`,
        second.at,
        {
          hint: 'record the activations of each model in its own file',
        },
      )
  }
  return names.flatMap((name) => files.find(({ of }) => of === name) ?? [])
}
