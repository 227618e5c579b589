/** What alignments, repairs and extractions did, a line each, from the lineage. */
import { type Lineage, stepLine } from '../index.js'
import { printable } from './text.js'

/** Of all steps of a run's outputs, each once. */
export function stepsText(lineages: readonly Lineage[]): string {
  const steps = new Map(lineages.flatMap(({ steps }) => Object.entries(steps)))
  return [...steps]
    .map(([name, step]) => stepLine(name, step))
    .filter((line) => line !== undefined)
    .map(printable)
    .join('\n')
}
