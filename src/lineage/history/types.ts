/** The history of a model: what its inputs were made from, as far as records beside them say. */
import type { Digest, Lineage, LineageModel } from '../types.js'

/** What is known of how an input was made. */
export type InputOrigin =
  /** Nothing. */
  | { readonly kind: 'unknown' }
  /** A card of terge names the models that it was made from. Nobody has checked it. */
  | { readonly kind: 'card'; readonly bases: readonly string[] }
  /** A lineage whose recorded digests are those that the child read. */
  | {
      readonly kind: 'lineage'
      /** `digest`: of the lineage's file. */
      readonly read: { readonly lineage: Lineage; readonly digest: Digest }
      readonly inputs: readonly Ancestor[]
    }
  /** A lineage that is not about these files, or whose digests cannot be compared. It is not followed. */
  | { readonly kind: 'refused'; readonly file: string; readonly why: string }
  /** It was not looked at. */
  | { readonly kind: 'stopped'; readonly why: string }

/** An input, and how it was made. */
export interface Ancestor {
  /** The name in the recipe of the model that was made from it. */
  readonly name: string
  readonly model: LineageModel
  readonly origin: InputOrigin
}
