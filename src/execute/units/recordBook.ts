import type { Need } from '../../plan/unitForms.js'
import type { PlanUnits, Unit } from '../../plan/units.js'
import type { InputDigests } from './inputDigests.js'
import { recordDigest, type UnitRecord } from './records.js'

/** The records of a run, by unit. */
export interface RecordBook {
  /** The record of an analysis, a scope or a factoring. */
  shared(need: Need): UnitRecord | undefined
  tensor(output: number, tensor: number): UnitRecord | undefined
  /** The record's inputs, as far as they are known. */
  inputsOf(unit: Unit): (string | null)[]
  /** Keeps a complete record. */
  keep(unit: Unit, record: UnitRecord): void
  /** Makes a record when the digests of the unit's inputs are known. At the end of a run, all are. */
  make(unit: Unit, made: Pick<UnitRecord, 'outputs' | 'findings' | 'figures'>): void
  all(): Generator<UnitRecord>
}

/** Calls `noted` with each record that is made here, but not with kept ones. */
export function recordBook(
  units: PlanUnits,
  digests: InputDigests,
  noted: (unit: Unit, record: UnitRecord) => void,
): RecordBook {
  const shared = new Map<string, UnitRecord>()
  const tensors: (UnitRecord | undefined)[][] = []
  const needDigests = new Map<string, string>()

  /** By key and inputs only: a unit can be recorded before the units that it needs. */
  function needDigest(need: Need): string {
    const unit = units.unit(need)
    const known = needDigests.get(unit.id)
    if (known !== undefined) return known
    const digest = recordDigest({ key: unit.key, inputs: inputsOf(unit) })
    if (unit.reads.every((stored) => digests.get(stored) !== undefined)) needDigests.set(unit.id, digest)
    return digest
  }
  const inputsOf = ({ reads, needs }: Unit): (string | null)[] =>
    digests.enabled
      ? [...reads.map((stored) => digests.get(stored) ?? null), ...needs.map(needDigest)]
      : [...reads, ...needs].map(() => null)

  function keep(unit: Unit, record: UnitRecord): void {
    const [made] = unit.makes
    if (!made) {
      shared.set(unit.id, record)
      return
    }
    const own = tensors[made.output] ?? []
    tensors[made.output] = own
    own[made.tensor] = record
  }

  /** The tensors that need a digest before the unit's record can be made. Inputs of analyses and scopes have one before tensors begin. */
  const awaited = ({ reads, needs }: Unit): readonly number[] => {
    const factorings = needs.filter(({ kind }) => kind === 'factoring')
    return factorings.length > 0 ? [...reads, ...factorings.flatMap((need) => units.unit(need).reads)] : reads
  }

  return {
    shared: ({ kind, index }) => shared.get(`${kind} ${index}`),
    tensor: (output, tensor) => tensors[output]?.[tensor],
    inputsOf,
    keep,
    make(unit, made) {
      // Other units can need the findings before the inputs are digested.
      keep(unit, { key: unit.key, inputs: [], ...made })
      digests.whenKnown(awaited(unit), () => {
        const record = { key: unit.key, inputs: inputsOf(unit), ...made }
        keep(unit, record)
        if (digests.enabled) noted(unit, record)
      })
    },
    *all() {
      yield* shared.values()
      for (const own of tensors) for (const record of own ?? []) if (record) yield record
    },
  }
}
