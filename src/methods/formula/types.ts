/** What a formula is as text: its tree, and the errors in it. docs/formulas.md describes the language. */
import type { ErrorCode } from '../../core/codes.js'

/** Offsets in the formula, in UTF-16 code units. `end` is exclusive. */
export interface At {
  readonly start: number
  readonly end: number
}

/** An error at a place in the formula. */
export interface FormulaFault {
  readonly code: ErrorCode
  readonly message: string
  readonly hint?: string
  readonly at: At
}

export type Arithmetic = '+' | '-' | '*' | '/' | '^'
export type Comparison = '<' | '<=' | '>' | '>=' | '==' | '!='

/** A node of the tree. */
export type Node =
  | { readonly kind: 'number'; readonly value: number; readonly at: At }
  /** `index`: absent without brackets. */
  | { readonly kind: 'name'; readonly name: string; readonly index?: number; readonly at: At }
  | { readonly kind: 'negate'; readonly of: Node; readonly at: At }
  | {
      readonly kind: 'arithmetic'
      readonly sign: Arithmetic
      readonly left: Node
      readonly right: Node
      readonly at: At
    }
  | { readonly kind: 'compare'; readonly sign: Comparison; readonly left: Node; readonly right: Node; readonly at: At }
  /** `named`: the place of the function's name. */
  | {
      readonly kind: 'call'
      readonly name: string
      readonly args: readonly Node[]
      readonly at: At
      readonly named: At
    }

/** A formula as a tree, or the first error in its text. */
export type Parsed = { readonly root: Node } | { readonly fault: FormulaFault }

/** The names that a formula may use besides those of the language. `perModel`: has a value for each merged model. */
export type OwnNames = ReadonlyMap<string, { readonly perModel: boolean }>

/** What a formula uses. */
export interface Uses {
  /** `base` or `delta`. */
  readonly base: boolean
  readonly weights: boolean
  readonly layer: boolean
  /** The place of the first `base` or `delta`. */
  readonly baseAt?: At
  /** Whether models are named by index. Then each tensor needs all models. */
  readonly indexes: boolean
  /** Own parameters. */
  readonly names: ReadonlySet<string>
}

/** Limits on formulas, so that hostile ones cost little time and memory. */
export const LONGEST_FORMULA = 20_000
export const MOST_NODES = 4_000
export const DEEPEST = 200
