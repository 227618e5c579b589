import { fault } from '../../core/diagnostics.js'
import { factorPlaces } from '../../kernels/held/index.js'
import type { Plan } from '../../plan/types.js'
import type { Findings } from '../findings.js'

/** ‖δ‖², how many triplets were found, and Σ σ² of those. */
export type FactorFigures = readonly [squares: number, found: number, kept: number]

type Floats = Float32Array | Float64Array

interface Found {
  readonly a: Floats
  readonly b: Floats
  /** Jobs that have not had theirs. */
  left: number
}

/** Factors on their way from the job that finds both to those that write them: they leave when all have them. */
export interface FactorShelf {
  readonly figures: Map<number, FactorFigures>
  readonly take: Findings['factor']
  /** Copies what a factoring left in a team's memory. `uses`: how many jobs will take of it. Fault: `not-finite`. */
  put(
    factoring: number,
    memory: ArrayBufferLike,
    at: number,
    uses: number,
    inputs: Readonly<Record<string, string>>,
  ): void
  /** Digests of stored tensors that were made while a factoring was found. */
  inputsOf(factoring: number): Readonly<Record<string, string>>
}

export function factorShelf(plan: Plan): FactorShelf {
  const shelf = new Map<number, Found>()
  const figures = new Map<number, FactorFigures>()
  const inputs = new Map<number, Readonly<Record<string, string>>>()
  return {
    figures,
    take(factoring, factor) {
      const found = shelf.get(factoring)
      if (!found) throw new Error(`internal: factoring ${factoring} has not been done`)
      if (--found.left === 0) shelf.delete(factoring)
      return found[factor]
    },
    put(factoring, memory, at, uses, digests) {
      const { work, tensor } = plan.factorings[factoring]!
      const places = factorPlaces(work)
      const [squares, found, kept] = new Float64Array(memory, at + places.figures, 3) as unknown as FactorFigures
      if (!Number.isFinite(squares))
        throw fault(
          'not-finite',
          `${tensor}: the difference has elements that are no finite numbers`,
          `exclude: ["${tensor}"] leaves it out of the adapter`,
          1,
        )
      figures.set(factoring, [squares, found, kept])
      inputs.set(factoring, digests)
      const copy = (from: number, count: number): Floats => {
        const bytes = count * places.elementBytes
        const to = new SharedArrayBuffer(bytes)
        new Uint8Array(to).set(new Uint8Array(memory, at + from, bytes))
        return places.elementBytes === 4 ? new Float32Array(to) : new Float64Array(to)
      }
      const { rows, columns } = work
      const turned = work.options.turned === 1
      const rank = Number(work.options.rank)
      const [out, into] = turned ? [columns, rows] : [rows, columns]
      shelf.set(factoring, { a: copy(places.a, rank * into), b: copy(places.b, rank * out), left: uses })
    },
    inputsOf: (factoring) => inputs.get(factoring) ?? {},
  }
}

/**
 * What the lineage tells of a plan's extractions, by step. Figures by factoring, of all that the plan's outputs need.
 * Fault: `nothing-to-extract` where a tuned model is its base in every layer.
 */
export function extractionRecords(
  plan: Plan,
  figures: ReadonlyMap<number, FactorFigures>,
): Map<string, Readonly<Record<string, unknown>>> {
  const records = new Map<string, Readonly<Record<string, unknown>>>()
  for (const { name, left = {} } of plan.steps.filter(({ kind }) => kind === 'extract')) {
    const own = plan.factorings.flatMap(({ step, tensor, work }, index) => {
      const found = figures.get(index)
      return step === name && found ? [{ tensor, options: work.options, found }] : []
    })
    if (own.length === 0) continue
    const changed = own.filter(({ found: [squares] }) => squares > 0)
    if (changed.length === 0)
      throw fault(
        'nothing-to-extract',
        `${name}: the two models are the same in every layer of the adapter`,
        undefined,
        1,
      )
    const energies = changed.map(({ found: [squares, , kept] }) => Math.min(1, kept / squares))
    const total = (of: (found: FactorFigures) => number) => changed.reduce((sum, { found }) => sum + of(found), 0)
    records.set(name, {
      modules: Object.fromEntries(
        own.map(({ tensor, options, found: [squares, found, kept] }) => [
          tensor,
          {
            method: options.method,
            rank: options.rank,
            found,
            norm: Math.sqrt(squares),
            energy: squares > 0 ? Math.min(1, kept / squares) : null,
          },
        ]),
      ),
      changed: changed.length,
      // Of the whole difference, and of its layers.
      energy: {
        total: Math.min(1, total(([, , kept]) => kept) / total(([squares]) => squares)),
        mean: energies.reduce((sum, energy) => sum + energy, 0) / energies.length,
        least: Math.min(...energies),
      },
      ...(Object.keys(left).length > 0 ? { left } : {}),
    })
  }
  return records
}
