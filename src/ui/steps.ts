/** What alignments, repairs and extractions did, from the lineage. */
import { type Lineage, stepLine } from '../index.js'
import { printable } from './text.js'

/** One line per step of a run's outputs, without duplicates; empty if no step has anything to report. */
export function stepsText(lineages: readonly Lineage[]): string {
  const steps = new Map(lineages.flatMap(({ steps }) => Object.entries(steps)))
  return [...steps]
    .map(([name, step]) => stepLine(name, step))
    .filter((line) => line !== undefined)
    .map(printable)
    .join('\n')
}
