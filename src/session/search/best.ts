/** The end of a search: the best recipe as a file, its checkpoint made and evaluated again, and the page. */
import { lstat } from 'node:fs/promises'
import { fault } from '../../core/diagnostics.js'
import type { SearchRecord } from '../../search/types.js'
import { replaceFile } from '../../storage/local/replaceFile.js'
import { addressOf } from '../destinations/places.js'
import { type Prepared, plan } from '../plan.js'
import { run } from '../run.js'
import { recipeText } from './bestRecipe.js'
import { type SearchFiles, shownFile } from './files.js'
import { machineOf, type SearchListener, type SearchOptions, type SearchResult } from './options.js'
import { scoreOf } from './score.js'
import { trialData } from './trialLines.js'
import type { Variants } from './variants.js'

/** The best checkpoint gets the recipe's output. Error: `output-exists`. */
export async function refuseOutput({ plan: { outputs }, bindings }: Prepared, force: boolean): Promise<void> {
  const [output] = bindings.outputs
  if (force || addressOf(outputs[0]!) || !(await lstat(output!).catch(() => undefined))) return
  throw fault('output-exists', `${output}: exists already`, 'use --force to replace it')
}

interface Ending {
  readonly variants: Variants
  readonly record: SearchRecord
  readonly files: SearchFiles
  readonly options: SearchOptions
  readonly listen: SearchListener
}

/** Errors: `search-failures` if no trial succeeded; those of a run; `not-reproduced` if the checkpoint is not that of the trial. */
export async function repeatBest(ending: Ending): Promise<Omit<SearchResult, 'seconds'>> {
  const { variants, record, files, options, listen } = ending
  const { recipe } = variants
  const { dimensions, objective } = recipe.search!
  const best = record.trials.find(({ index }) => index === record.best)
  if (!best) {
    const reason = record.trials.at(-1)?.reason
    const last = reason === undefined ? '' : `, the last one with: ${reason}`
    const message = `no trial succeeded: all ${record.trials.length} failed${last}`
    throw fault('search-failures', message, 'correct the command or the ranges, then begin again with --force', 1)
  }
  const { sync = true } = options
  await replaceFile(files.best, recipeText(recipe, best.point), sync)
  const data = trialData(best, dimensions)
  listen({ kind: 'repeat', best: data, recipe: files.best, end: record.end })
  const prepared = await plan(files.best, options.output === undefined ? {} : { output: options.output })
  const result = await run(prepared, {
    ...machineOf(options),
    ...{ resume: options.resume ?? false, force: options.force ?? false, sync, commands: 'run', listen },
  })
  const { lineage } = result.outputs[0]!
  const metrics = lineage.evaluations ?? {}
  const score = scoreOf(objective, metrics)
  if (typeof score === 'string')
    throw fault('not-reproduced', `the best recipe, evaluated again: ${score}`, undefined, 1)
  const digest = lineage.output.digest ?? ''
  const sameDigest = digest === best.digest
  const whole: SearchRecord = { ...record, repeat: { score, digest, sameDigest } }
  const { renderSearchPage } = await import('../../search/page/index.js')
  await replaceFile(files.page, renderSearchPage(whole), sync)
  if (!sameDigest)
    throw fault(
      'not-reproduced',
      `${shownFile(files.best)} gives another checkpoint than trial ${best.index}: ${digest}, not ${best.digest}`,
      'an input has changed, or the versions of terge differ; do not use the result',
      1,
    )
  if (score !== best.score) {
    const message = `evaluated again, the best checkpoint scores ${score}, not ${best.score}: the command is not deterministic`
    listen({ kind: 'notice', message })
  }
  return { record: whole, best: data, repeat: { score, metrics, digest, sameDigest }, files, run: result }
}
