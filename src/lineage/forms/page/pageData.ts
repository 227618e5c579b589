/** What the page's script knows. Both sides use these types: `data.ts` writes it, and `browser/` reads it. */
import type { Json } from '../../../core/json/shape.js'

/** Colours of models, steps and methods repeat after so many. Copies have the next one, which is grey. */
export const COLOUR_COUNT = 8

/**
 * Index into `names`, the tensor's name (0: that of the row), the weight, and the number of a way to make it (-1: read from a file).
 * What is not there at the end is 0, null and -1.
 */
export type SourceData = readonly [name: number, tensor?: string | 0, weight?: number | null, making?: number]

/** A tensor that a step made on the way: the step, the tensor (0: the row's name), and the number of its way to make it. */
export type PartData = readonly [name: number, tensor: string | 0, making: number]

export interface CroppedData {
  readonly rows: number
  readonly models: readonly string[]
}

/** A way to make a tensor: index into `methods`, number of its parameters, its sources. What is not there at the end is 0. */
export type MergeData = readonly [
  method: number,
  parameters: number,
  sources: readonly SourceData[],
  base?: SourceData | 0,
  cropped?: CroppedData | 0,
  parts?: readonly PartData[] | 0,
]

/** Index into `parameterNames`, and the values. */
export type ParametersData = readonly [names: number, ...values: Json[]]

/**
 * Ways to make tensors, and their parameters: one JSON text per line, each different one once. The script parses a line when somebody
 * looks at it, because there can be as many as tensors.
 */
export interface Lines {
  readonly merges: readonly string[]
  readonly parameters: readonly string[]
}

export interface RuleData {
  readonly step: string
  /** From 1. */
  readonly number: number
  /** The element that describes it. */
  readonly id: string
}

export interface PageData {
  /** Models in the recipe's order, then steps, then every other name of a source. */
  readonly names: readonly string[]
  readonly methods: readonly string[]
  /** Colours by index into `names` and `methods`. */
  readonly nameColours: readonly number[]
  readonly methodColours: readonly number[]
  readonly parameterNames: readonly (readonly string[])[]
  readonly dtypes: readonly string[]
  readonly shapes: readonly (readonly number[])[]
  readonly reasons: readonly { readonly code: string; readonly text: string }[]
  readonly absents: readonly (readonly { readonly model: string; readonly reason: string }[])[]
  readonly notes: readonly (readonly string[])[]
  readonly rules: readonly RuleData[]
  /** Sets of rules: indexes into `rules`. */
  readonly ruleSets: readonly (readonly number[])[]
  readonly algorithm: string
  /** Steps whose way of making a tensor is left out, because the page would be too large. */
  readonly shortened: boolean
  readonly rows: RowData
}

/** One value per tensor in each list, in the order of names. -1: none. */
export interface RowData {
  /** How many characters of the name are those of the name before. */
  readonly shared: readonly number[]
  /** The rest of the name. */
  readonly names: readonly string[]
  readonly methods: readonly number[]
  /** Numbers of lines. */
  readonly merges: readonly number[]
  readonly dtypes: readonly number[]
  readonly shapes: readonly number[]
  readonly reasons: readonly number[]
  readonly absents: readonly number[]
  readonly notes: readonly number[]
  readonly nonFinite: readonly number[]
  readonly rules: readonly number[]
  /** Without `algorithm` if that is theirs; 0 without a digest. */
  readonly digests: readonly (string | 0)[]
}
