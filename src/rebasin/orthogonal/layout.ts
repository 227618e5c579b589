/** How a transformer's tensors touch its residual stream: what orthogonal matching and the aligned tensors follow. */
import type { Heads } from '../infer/transformers/index.js'
import type { TensorSource } from '../weights.js'

/** `layer`: LayerNorm, which subtracts the mean. `either`: only maps that are right for both kinds. */
export type NormKind = 'rms' | 'layer' | 'either'

/** How the stream of the aligned model comes from the model's. */
export type Basis = 'rotated' | 'permuted' | 'kept'

/** The matrices of a layer, in the order in which they are compared. */
export const KEYS = ['q', 'k', 'v', 'o', 'gate', 'up', 'down'] as const
export type Key = (typeof KEYS)[number]

/** Whether a layer's matrix adds to the stream. */
export const writes = (key: Key | undefined): boolean => key === 'o' || key === 'down'

/** A matrix between the residual stream and units, tokens or pixels. */
export interface Matrix {
  readonly tensor: string
  /** Axis of the residual stream. The others, in order, are the units'. */
  readonly stream: number
  /** Of a tensor with several matrices: the first unit. */
  readonly from: number
  readonly units: number
  /** Adds to the stream, or reads it through a norm. */
  readonly writes: boolean
  /** Where units can move. */
  readonly place?: { readonly layer: number; readonly key: Key }
  readonly bias?: string
  /** For readers: the norm before it. */
  readonly norm?: string
  /** For writers: the tensor that multiplies its output. */
  readonly factor?: string
}

export interface Norm {
  readonly weight?: string
  readonly bias?: string
  /** Everything that reads it has a bias, where its own can be added. */
  readonly folds: boolean
}

/** What a tensor is. */
export type Part =
  | { readonly kind: 'matrix' | 'bias'; readonly matrices: readonly Matrix[] }
  | { readonly kind: 'norm'; readonly module: string; readonly part: 'weight' | 'bias' }
  /** Numbers that belong to places of the stream. */
  | { readonly kind: 'factor' | 'vector' | 'square' }
  | { readonly kind: 'none' }

export interface Layout {
  readonly family: string
  readonly prefix: string
  readonly hidden: number
  /** Units of a feed-forward. */
  readonly units: number
  /** Absent if the number of heads is not known. Heads then stay as they are. */
  readonly shape?: Heads
  /** How many of a head's first places rotary positions turn. Undefined: not known, and queries and keys keep their bases. */
  readonly rotary?: number
  readonly kind: NormKind
  readonly basis: Basis
  /** What stays although it could turn in principle, with the reason. */
  readonly kept: Readonly<Record<string, string>>
  /** Matrices whose units keep their order. */
  readonly ends: readonly Matrix[]
  readonly layers: readonly Readonly<Partial<Record<Key, Matrix>>>[]
  readonly norms: ReadonlyMap<string, Norm>
  readonly parts: ReadonlyMap<string, Part>
}

export type Described = Pick<TensorSource, 'tensors' | 'config'>
