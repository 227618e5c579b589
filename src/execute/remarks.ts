/** Warnings of a run about tensors: results that are not finite, and inputs for which a method's formula is not defined. */

import { type Diagnostic, Fault } from '../core/diagnostics.js'
import { agree } from '../core/words.js'
import type { Plan, PlanTensor } from '../plan/types.js'

/** The remarks about one tensor. */
export interface Remarks {
  /** Number of results that are not finite although all inputs are; more than 0. */
  readonly nonFinite?: number
  /** What was done where methods' formulas are not defined; sorted, not empty. */
  readonly notes?: readonly string[]
}

/** Undefined if there are no remarks. */
export const remarksOf = ({ nonFinite = 0, notes = [] }: Remarks): Remarks | undefined =>
  nonFinite > 0 || notes.length > 0
    ? { ...(nonFinite > 0 ? { nonFinite } : {}), ...(notes.length > 0 ? { notes } : {}) }
    : undefined

/** A message lists at most so many names, and counts the others. */
const MOST_NAMES = 3

const grouped = new Intl.NumberFormat('en-US')
const count = (n: number, what: string): string => `${grouped.format(n)} ${agree(n, what, `${what}s`)}`

function list(names: readonly string[]): string {
  const rest = names.length - MOST_NAMES
  return `${names.slice(0, MOST_NAMES).join(', ')}${rest > 0 ? ` and ${grouped.format(rest)} more` : ''}`
}

/** The warnings about an output, by the records of its tensors: one about results that are not finite, and one for each note. */
export function remarkDiagnostics(
  output: Plan['outputs'][number],
  records: readonly { readonly figures: Remarks }[],
): Diagnostic[] {
  const told = records.flatMap(({ figures: { nonFinite, notes } }, index) =>
    nonFinite || notes
      ? [{ tensor: output.tensors[index]!, ...(nonFinite ? { nonFinite } : {}), ...(notes ? { notes } : {}) }]
      : [],
  )
  const notes = new Map<string, string[]>()
  for (const { tensor, notes: own = [] } of told)
    for (const note of own) notes.set(note, [...(notes.get(note) ?? []), tensor.name])
  return [
    ...nonFiniteDiagnostics(output, told),
    ...[...notes]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(
        ([note, names]): Diagnostic => ({
          severity: 'warning',
          code: 'degenerate-tensor',
          message: `${note}: ${count(names.length, 'tensor')} of ${output.path} (${list(names)})`,
          hint: 'add a rule with another method for these tensors',
        }),
      ),
  ]
}

function nonFiniteDiagnostics(
  { path }: Plan['outputs'][number],
  told: readonly ({ readonly tensor: PlanTensor } & Remarks)[],
): Diagnostic[] {
  const found = told.flatMap(({ tensor, nonFinite }) => (nonFinite ? [{ tensor, nonFinite }] : []))
  if (found.length === 0) return []
  const total = found.reduce((sum, { nonFinite }) => sum + nonFinite, 0)
  // The worst come first.
  const names = found
    .sort((a, b) => b.nonFinite - a.nonFinite || (a.tensor.name < b.tensor.name ? -1 : 1))
    .map(({ tensor, nonFinite }) => `${tensor.name}: ${grouped.format(nonFinite)}`)
  const half = found.some(({ tensor }) => tensor.dtype === 'F16')
  return [
    {
      severity: 'warning',
      code: 'not-finite',
      message: `${count(total, 'element')} in ${count(found.length, 'tensor')} of ${path} ${total === 1 ? 'is' : 'are'} NaN or infinite although the inputs are finite (${list(names)})`,
      hint: half
        ? 'the largest float16 number is 65504: write output: {dtype: bfloat16} or float32; --strict makes this an error'
        : 'check weights and scales, or exclude these tensors with filters; --strict makes this an error',
    },
  ]
}

/** Throws the warnings about results that are not finite as errors. Does nothing if there are none. */
export function refuseNonFinite(diagnostics: readonly Diagnostic[]): void {
  const errors = diagnostics.filter(({ code }) => code === 'not-finite')
  if (errors.length > 0)
    throw new Fault(
      errors.map((each) => ({ ...each, severity: 'error' })),
      1,
    )
}
