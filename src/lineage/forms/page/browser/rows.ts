/** The tensors as rows, from the page's compact data. */
import type { MergeData, PageData } from '../pageData.js'

export interface Row {
  readonly index: number
  readonly name: string
  /** For searches without regard to case. */
  readonly lower: string
  readonly merge: MergeData
  readonly method: string
  readonly dtype: string
  readonly shape: readonly number[]
  readonly elements: number
  readonly digest: string | null
  readonly reason: { readonly code: string; readonly text: string } | undefined
  readonly absent: readonly { readonly model: string; readonly reason: string }[]
  readonly notes: readonly string[]
  readonly nonFinite: number
  /** Indexes into the page's rules. */
  readonly rules: readonly number[]
}

export function rowsOf(data: PageData): Row[] {
  const { rows } = data
  let name = ''
  return rows.names.map((rest, index): Row => {
    name = name.slice(0, rows.shared[index]!) + rest
    const shape = data.shapes[rows.shapes[index]!]!
    const digest = rows.digests[index]!
    const merge = data.merges[rows.merges[index]!]!
    return {
      index,
      name,
      lower: name.toLowerCase(),
      merge,
      method: data.methods[merge.m]!,
      dtype: data.dtypes[rows.dtypes[index]!]!,
      shape,
      elements: shape.reduce((product, size) => product * size, 1),
      digest: digest === 0 ? null : digest.startsWith(data.algorithm) ? digest : data.algorithm + digest,
      reason: data.reasons[rows.reasons[index]!],
      absent: data.absents[rows.absents[index]!] ?? [],
      notes: data.notes[rows.notes[index]!] ?? [],
      nonFinite: rows.nonFinite[index]!,
      rules: data.ruleSets[rows.rules[index]!] ?? [],
    }
  })
}
