/** What a search found. */

import { counted } from '../../core/words.js'
import type { SearchResult } from '../../index.js'
import { runText, shownPath } from '../result.js'
import { table } from '../text.js'
import { END_WORDS, metricsText, short } from './words.js'

export function searchText(result: SearchResult, folder: string, width: number): string {
  const { record, best, repeat, files, run } = result
  const failed = record.trials.filter(({ state }) => state === 'failed').length
  const head = `${counted(record.trials.length, 'trial')}${failed > 0 ? `, ${failed} failed` : ''}: ${END_WORDS[record.end]}`
  const own = new Map(record.dimensions.map(({ path }, at) => [path, record.start?.[at]]))
  const rows = Object.entries(best.parameters).map(([path, value]) => {
    const before = own.get(path)
    return [path, short(value), before === undefined ? '' : short(before)]
  })
  const columns = [
    { title: 'parameter' },
    { title: 'best', align: 'right' as const },
    { title: 'in the recipe', align: 'right' as const },
  ]
  const again =
    repeat.score === best.score
      ? `made again: the same checkpoint (${repeat.digest}) and the same score`
      : `made again: the same checkpoint (${repeat.digest}), with a score of ${short(repeat.score)}: the command is not deterministic`
  const shown = (file: string) => shownPath(file, folder)
  return [
    head,
    `best: trial ${best.trial}, score ${short(best.score ?? 0)} (${metricsText(best)})`,
    table(columns, rows),
    again,
    runText(run, folder, width),
    `best recipe in ${shown(files.best)}, trials in ${shown(files.trials)}, page in ${shown(files.page)}`,
  ].join('\n')
}
