/**
 * Records: the results of units, as plain data. The journal, the result of a part of a run, and the input of a lineage are lists of
 * records.
 */
import { sha256 } from '../../core/digest.js'
import type { FoundArrays } from '../../steps/analysis.js'
import type { FoundRecord } from '../../steps/index.js'
import type { FactorFigures } from '../../steps/shared/factored.js'

export interface UnitRecord {
  /** The unit's key. */
  readonly key: string
  /** Digests of the stored tensors that the unit reads, in its order, then of the records that it needs; null if the run skips digests. */
  readonly inputs: readonly (string | null)[]
  /** Digests of the tensors that it wrote. */
  readonly outputs: readonly (string | null)[]
  /** Small arrays by name: permutations, rotations, sums. */
  readonly findings: FoundArrays
  /** Figures for people. */
  readonly figures: Figures
}

export interface Figures {
  /** Number of results that are not finite although all inputs are; more than 0. */
  readonly nonFinite?: number
  /** What was done where methods' formulas are not defined; sorted, not empty. */
  readonly notes?: readonly string[]
  /** The figures of a factoring. */
  readonly factors?: FactorFigures
  /** The figures of an analysis, by its steps. */
  readonly steps?: readonly FoundRecord[]
}

export const NOTHING_FOUND: FoundArrays = Object.freeze({})
export const NO_FIGURES: Figures = Object.freeze({})

/** The digest of a record, for units that need it. Its findings follow from its key and its inputs. */
export const recordDigest = ({ key, inputs }: Pick<UnitRecord, 'key' | 'inputs'>): string =>
  sha256(JSON.stringify([key, inputs]))

const ARRAYS = { i32: Int32Array, f32: Float32Array, f64: Float64Array } as const
type ArrayType = keyof typeof ARRAYS
const TYPES = Object.keys(ARRAYS) as ArrayType[]

/** A record as one line of text, with a checksum to detect damaged lines. */
export function recordLine({ key, inputs, outputs, findings: found, figures }: UnitRecord): string {
  const findings = Object.entries(found).map(([name, array]) => {
    const type = TYPES.find((type) => array instanceof ARRAYS[type])!
    return [name, type, Buffer.from(array.buffer, array.byteOffset, array.byteLength).toString('base64')]
  })
  const text = JSON.stringify({ key, inputs, outputs, findings, figures })
  return `[${text},"${sha256(text)}"]`
}

/** Parses a record; undefined if the line is damaged or not a record. */
export function parseRecord(line: string): UnitRecord | undefined {
  try {
    const [record, sum] = JSON.parse(line) as [
      Omit<UnitRecord, 'findings'> & { findings: [string, ArrayType, string][] },
      unknown,
    ]
    if (sum !== sha256(JSON.stringify(record))) return undefined
    const { key, inputs, outputs, findings, figures } = record
    const { notes = [], nonFinite = 0, factors = [], steps = [] } = figures
    if (![inputs, outputs, findings, notes, factors, steps].every(Array.isArray)) return undefined
    const texts = [
      key,
      ...inputs,
      ...outputs,
      ...notes,
      ...findings.flatMap(([name, type, text]) => [name, type, text]),
    ]
    if (!texts.every((text) => typeof text === 'string') || ![nonFinite, ...factors].every(Number.isFinite))
      return undefined
    if (!(nonFinite >= 0) || !steps.every((step) => typeof step === 'object' && step !== null)) return undefined
    const arrays = findings.map(([name, type, text]) => {
      const bytes = Uint8Array.from(Buffer.from(text, 'base64'))
      return [name, new ARRAYS[type](bytes.buffer)] as const
    })
    return {
      ...{ key, inputs, outputs, figures },
      findings: arrays.length > 0 ? Object.fromEntries(arrays) : NOTHING_FOUND,
    }
  } catch {
    return undefined
  }
}
