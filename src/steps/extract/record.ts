/** The record of an extraction in the lineage. */
import { fault } from '../../core/diagnostics.js'
import { list, natural, nullable, number, object, record, text } from '../../core/json/shape.js'
import type { Factored, FactorFigures } from '../shared/factored.js'
import type { UsesRecord } from '../types.js'
import type { ExtractRecord } from './types.js'

/**
 * `left`: tensors that are not in the adapter, with reasons. Error: `nothing-to-extract` if both models are equal in
 * every layer.
 */
export function extractRecord(
  step: string,
  factored: readonly Factored[],
  left: Readonly<Record<string, string>>,
): ExtractRecord {
  const changed = factored.filter(({ figures: [squares] }) => squares > 0)
  if (changed.length === 0)
    throw fault(
      'nothing-to-extract',
      `${step}: the two models are equal in every layer of the adapter`,
      'name a fine-tuned model and its base model',
      1,
    )
  const energies = changed.map(({ figures: [squares, , kept] }) => Math.min(1, kept / squares))
  const total = (of: (figures: FactorFigures) => number) => changed.reduce((sum, { figures }) => sum + of(figures), 0)
  return {
    modules: Object.fromEntries(
      factored.map(({ tensor, work: { options }, figures: [squares, found, kept] }) => [
        tensor,
        {
          method: String(options.method),
          rank: Number(options.rank),
          found,
          norm: Math.sqrt(squares),
          energy: squares > 0 ? Math.min(1, kept / squares) : null,
        },
      ]),
    ),
    changed: changed.length,
    energy: {
      total: Math.min(1, total(([, , kept]) => kept) / total(([squares]) => squares)),
      mean: energies.reduce((sum, energy) => sum + energy, 0) / energies.length,
      least: Math.min(...energies),
    },
    ...(Object.keys(left).length > 0 ? { left } : {}),
  }
}

type ModuleRecord = ExtractRecord['modules'][string]

export const readExtractRecord = object<ExtractRecord & UsesRecord>(
  {
    models: list(text),
    modules: record(
      object<ModuleRecord>({ method: text, rank: natural, found: natural, norm: number, energy: nullable(number) }),
    ),
    changed: natural,
    energy: object({ total: number, mean: number, least: number }),
    left: record(text),
  },
  'left',
)
