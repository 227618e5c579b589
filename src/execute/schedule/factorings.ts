import { fault } from '../../core/diagnostics.js'
import { factorPlaces } from '../../kernels/held/index.js'
import type { Plan } from '../../plan/types.js'
import { type FoundRecord, kindOf } from '../../steps/index.js'
import type { Factored, FactorFigures } from '../../steps/shared/factored.js'
import type { Findings } from '../findings.js'

type Floats = Float32Array | Float64Array

interface Found {
  readonly a: Floats
  readonly b: Floats
  /** How many jobs have not finished with their factor yet. */
  left: number
}

/** Keeps factors from the job that computes them until all jobs that write them have taken them. */
export interface FactorShelf {
  readonly take: Findings['factor']
  /** A job that uses these factorings has finished. */
  release(factorings: readonly number[]): void
  /** Copies the result of a factoring from the team's memory. `uses`: how many jobs will take it. Error: `not-finite`. */
  put(factoring: number, memory: ArrayBufferLike, at: number, uses: number): FactorFigures
}

export function factorShelf(plan: Plan): FactorShelf {
  const shelf = new Map<number, Found>()
  // By size: memory of factors that were written. Each thread keeps what it was given until it collects its garbage, which small heaps
  // put off: new memory for each factor would add up.
  const free = new Map<number, SharedArrayBuffer[]>()
  return {
    take(factoring, factor) {
      const found = shelf.get(factoring)
      if (!found) throw new Error(`internal: factoring ${factoring} was not run`)
      return found[factor]
    },
    release(factorings) {
      for (const factoring of factorings) {
        const found = shelf.get(factoring)
        if (!found || --found.left > 0) continue
        shelf.delete(factoring)
        for (const { buffer } of [found.a, found.b])
          free.set(buffer.byteLength, [...(free.get(buffer.byteLength) ?? []), buffer as SharedArrayBuffer])
      }
    },
    put(factoring, memory, at, uses) {
      const { work, tensor } = plan.factorings[factoring]!
      const places = factorPlaces(work)
      const [squares, found, kept] = new Float64Array(memory, at + places.figures, 3) as unknown as FactorFigures
      if (!Number.isFinite(squares))
        throw fault(
          'not-finite',
          `${tensor}: the difference contains NaN or infinite elements`,
          `write exclude: ["${tensor}"] to skip it`,
          1,
        )
      if (uses === 0) return [squares, found, kept]
      const copy = (from: number, count: number): Floats => {
        const bytes = count * places.elementBytes
        const to = free.get(bytes)?.pop() ?? new SharedArrayBuffer(bytes)
        new Uint8Array(to).set(new Uint8Array(memory, at + from, bytes))
        return places.elementBytes === 4 ? new Float32Array(to) : new Float64Array(to)
      }
      const { rows, columns } = work
      const turned = work.options.turned === 1
      const rank = Number(work.options.rank)
      const [out, into] = turned ? [columns, rows] : [rows, columns]
      shelf.set(factoring, { a: copy(places.a, rank * into), b: copy(places.b, rank * out), left: uses })
      return [squares, found, kept]
    },
  }
}

/** What the lineage records of a plan's factorings, by step. `figures` by factoring, for all that the plan's outputs need. */
export function extractionRecords(
  plan: Plan,
  figures: (factoring: number) => FactorFigures | undefined,
): ReadonlyMap<string, FoundRecord> {
  const factored = new Map<string, Factored[]>()
  for (const [index, { step, tensor, work }] of plan.factorings.entries()) {
    const found = figures(index)
    if (!found) continue
    const own = factored.get(step) ?? []
    own.push({ tensor, work, figures: found })
    factored.set(step, own)
  }
  const left = new Map(plan.steps.map((step) => [step.name, step.left]))
  const kinds = new Map(plan.steps.map((step) => [step.name, kindOf(step)]))
  return new Map(
    [...factored].map(([step, own]) => {
      const { factored: record } = kinds.get(step)!
      if (!record) throw new Error(`internal: ${step} has factorings and no record of them`)
      return [step, record(step, own, left.get(step) ?? {})]
    }),
  )
}
