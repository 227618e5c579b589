/** Mixtures of experts, made of dense models or of other mixtures. */
import type { AnalysisTensor } from '../../expr/types.js'
import type { MeasuredFile, Path, StepCommon } from '../../language/types.js'
import type { AnalysisCommon } from '../analysis.js'

export const GATES = {
  random: 'Random numbers of N(0, 1).',
  uniform_random: 'Random numbers, uniform between −√(1/H) and √(1/H), H being the width of the network.',
  embedding: 'Normalized sums of the embeddings of the prompts’ tokens.',
  statistics: 'Means of hidden states on the prompts, from a file.',
} as const
export type Gate = keyof typeof GATES

export const ARCHITECTURES = {
  mixtral: 'Mixtral, from llama or mistral.',
  qwen2_moe: 'Qwen2-MoE, from qwen2, llama or mistral, with a shared expert.',
  qwen3_moe: 'Qwen3-MoE, from qwen3.',
  deepseek: 'DeepSeek-MoE, from llama or mistral. Needs the code of its repository.',
} as const
export type ArchitectureName = keyof typeof ARCHITECTURES

/** Names of single experts, or the experts of a layer in one tensor. */
export type Naming = 'parts' | 'fused'

export interface Expert {
  readonly model: string
  readonly at: Path
  readonly prompts: readonly string[]
  readonly negative: readonly string[]
  /** Factor of its down projection: of what it adds. */
  readonly scale: number
  /** Size of the noise on its matrices. */
  readonly noise: number
}

/** An expert that every token goes through. */
export interface SharedExpert extends Expert {
  /** Its gate is zero: it counts half. */
  readonly zeroGate: boolean
}

interface Common extends StepCommon {
  readonly kind: 'moe'
  readonly layout: Naming
  readonly perToken?: { readonly count: number; readonly at: Path }
}

/** A mixture of dense models. */
export interface MixStep extends Common {
  readonly form: 'experts' | 'upcycle'
  readonly base: string
  readonly experts: readonly Expert[]
  readonly shared?: SharedExpert
  readonly gate: Gate
  readonly architecture?: ArchitectureName
  readonly seed?: number
  readonly statistics?: MeasuredFile
  /** Experts may all be the same model, whatever the gate. */
  readonly equalExperts: boolean
}

/** The experts of a mixture, and the shared one if there is one. */
export const expertsOf = ({ experts, shared }: Pick<MixStep, 'experts' | 'shared'>): readonly Expert[] =>
  shared ? [...experts, shared] : experts

/** The experts of several mixtures in one. */
export interface PoolStep extends Common {
  readonly form: 'pool'
  readonly models: readonly string[]
}

/** A dense model of a mixture's experts. */
export interface DenseStep extends Common {
  readonly form: 'dense'
  readonly model: string
  /** Of the experts, and of the shared expert where there is one. */
  readonly weights?: { readonly values: readonly number[]; readonly at: Path }
}

export type MoeStep = MixStep | PoolStep | DenseStep

/** A tensor of several parts, one after the other along the first axis, of which some are made by steps. */
export interface Join {
  readonly tensor: string
  readonly parts: readonly AnalysisTensor[]
}

/** Rows of routers, and tensors that are put together. */
export interface MoeAnalysis extends AnalysisCommon {
  readonly kind: 'moe'
  readonly routers?: {
    readonly gate: 'embedding' | 'statistics'
    /** Rows `from` to before `to` of a layer's. */
    readonly tensors: readonly {
      readonly tensor: string
      readonly layer: number
      readonly from: number
      readonly to: number
    }[]
    readonly layers: number
    readonly width: number
    /** The embedding, for `embedding`. */
    readonly embedding?: AnalysisTensor
    readonly rows: readonly RowSource[]
  }
  readonly joins: readonly Join[]
}

/** Where a row of all routers comes from: an expert's. */
export type RowSource =
  | {
      readonly kind: 'tokens'
      readonly positive: readonly (readonly number[])[]
      readonly negative: readonly (readonly number[])[]
    }
  | { readonly kind: 'means'; readonly positive: AnalysisTensor; readonly negative?: AnalysisTensor }
  | { readonly kind: 'zero' }

/** The tensors that rows are found from. */
export const tensorsOf = (rows: readonly RowSource[]): readonly AnalysisTensor[] =>
  rows.flatMap((row) => (row.kind === 'means' ? [row.positive, ...(row.negative ? [row.negative] : [])] : []))

/** The tokens of the prompts that rows are found from. */
export const tokensOf = (rows: readonly RowSource[]): number[] =>
  rows.flatMap((row) => (row.kind === 'tokens' ? [...row.positive, ...row.negative].flat() : []))

/** What the plan and the lineage keep of the step. */
export interface MoeSaid {
  readonly models: readonly string[]
  readonly form: MoeStep['form']
  readonly layout: Naming
  /** The `model_type` of the result. */
  readonly architecture?: string
  readonly base?: string
  readonly gate?: Gate
  /** Of random numbers, where there are any. */
  readonly seed?: number
  /** Of dense models, and then the shared one. */
  readonly experts?: readonly ExpertRecord[]
  readonly experts_per_token?: number
  /** Of mixtures in one: where its experts come from, in their order. */
  readonly pooled?: readonly { readonly model: string; readonly experts: number }[]
  /** Of a dense model: by expert. */
  readonly weights?: readonly number[]
  /** What is not in the result, or differs from what the models had. */
  readonly notes?: readonly string[]
}

export interface ExpertRecord {
  readonly model: string
  readonly scale: number
  readonly noise: number
  readonly prompts: readonly string[]
  readonly negative: readonly string[]
  readonly shared?: boolean
  /** Of a shared expert: its gate is zero. */
  readonly zero_gate?: boolean
}

/** What was found while it was made. */
export interface MoeFound {
  /** The tokens of each expert's prompts. */
  readonly tokens?: readonly number[]
  /** Layers in which a row of the router is zeros. */
  readonly zeros?: readonly number[]
  /** Layers in which two rows of the router are equal. */
  readonly equal?: readonly number[]
}
