/** Makes an output with the findings of one candidate of an analysis, and evaluates it. */
import { fault } from '../core/diagnostics.js'
import { unstageFile } from '../storage/local/staging.js'
import { type ClaimedOutput, evaluate, stageBeside } from './outputs.js'
import { factorShelf } from './schedule/factorings.js'
import type { Bindings, ExecuteOptions } from './types.js'
import type { AnalysisRoom, Judge } from './units/analyses.js'
import { claimsOf } from './units/claims.js'
import { runProgress } from './units/progress.js'
import { type RecordBook, recordBook } from './units/recordBook.js'
import { doShared } from './units/shared.js'
import { doTensors } from './units/tensors.js'
import type { Engine, OutputFiles } from './units/types.js'
import { wholeWork } from './units/work.js'

/** What a run provides for its candidates. */
export interface Candidates {
  readonly engine: Engine
  readonly batch: readonly ClaimedOutput[]
  readonly bindings: Bindings
  readonly options: ExecuteOptions
  readonly files: OutputFiles
  /** Findings and analyses that read these records. */
  readonly room: (
    records: RecordBook,
    shelf: Engine['shelf'],
  ) => Pick<Engine, 'findings'> & { readonly analyses: AnalysisRoom }
}

/**
 * Writes a candidate into the staged files of the output that the recipe evaluates. The run writes these files again at its
 * end, with the candidate that was chosen. Nothing of a candidate is recorded. Undefined if no command may run.
 */
export function candidateJudge(candidates: Candidates): Judge | undefined {
  const { engine, batch, bindings, options, files, room } = candidates
  const { plan, units, digests } = engine
  if (options.commands === undefined) return undefined
  return async (index, found) => {
    const output = batch.find(({ output }) => plan.outputs[output]!.evaluate)
    if (!output)
      throw fault(
        'evaluate-failed',
        'the output that select evaluates exists already',
        'run with --force to make it again',
        1,
      )
    const records = recordBook(units, digests, () => {})
    for (const unit of units.shared()) {
      const [kind, place] = unit.id.split(' ') as ['analysis' | 'scope', string]
      const own = engine.records.shared({ kind, index: Number(place) })
      if (own) records.keep(unit, own)
    }
    const unit = units.unit({ kind: 'analysis', index })
    records.keep(unit, { key: unit.key, inputs: [], outputs: [], ...found })
    const shelf = factorShelf(plan)
    const { findings, analyses } = room(records, shelf)
    const own: Engine = {
      ...engine,
      ...{ records, findings, shelf, claims: claimsOf([]), noteTiles: undefined },
      // Also where a run makes no tensors itself: what is judged is the whole output.
      part: engine.part && { ...engine.part, owns: (made) => made === output.output },
      listen: () => {},
      progress: runProgress(
        plan,
        1,
        () => {},
        () => false,
      ),
    }
    try {
      await doShared(own, analyses)
      await doTensors(own, onlyOf(files, output.output), wholeWork(own, [output.output]))
    } finally {
      await analyses.close()
    }
    const beside = await stageBeside(plan.outputs[output.output]!, output.staging, bindings, undefined)
    const figures = await evaluate(plan.outputs[output.output]!, output, options, 0)
    for (const { name } of beside) await unstageFile(output.staging, name)
    return figures!
  }
}

/** The files of one output of the batch. */
const onlyOf = ({ readable, first, paths }: OutputFiles, output: number): OutputFiles => ({
  ...{ readable, paths },
  first: new Map([[output, first.get(output)!]]),
})
