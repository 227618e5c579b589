/** What alignments, repairs and extractions did, from the lineage. */
import { type Lineage, stepLine, stepNotes } from '../index.js'
import { wrapped } from './fit.js'
import { printable } from './text.js'

/** One line per step of a run's outputs, without duplicates; empty if no step has anything to report. */
export function stepsText(lineages: readonly Lineage[], width = Number.POSITIVE_INFINITY): string {
  const steps = new Map(lineages.flatMap(({ steps }) => Object.entries(steps)))
  return [...steps]
    .flatMap(([name, step]) => {
      const line = stepLine(name, step)
      if (line === undefined) return []
      const notes = stepNotes(step).map((note) => `  ${wrapped(printable(note), width - 2, '    ')}`)
      return [printable(line), ...notes]
    })
    .join('\n')
}
