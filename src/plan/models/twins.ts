import type { Checkpoint, StoredTensor } from '../../checkpoints/types.js'
import { isFloat } from '../../encodings/index.js'
import { sameShape } from '../../expr/values.js'
import { EMBEDDING, HEAD, SHARED } from '../../networks/tied.js'
import type { Recipe } from '../../recipe/types.js'
import { adapterTensorName } from '../adapter/tensors.js'
import type { Twin, Twins } from './tied.js'

/** Two stored tensors that may have equal content. Headers do not show it, and a plan may depend on it. */
export interface TwinCandidate {
  readonly of: Twin
  readonly embedding: Twin
}

/** A model has one head or a few. */
const MOST = 16

/**
 * Pairs whose content a plan needs to compare: tensors with the shape and dtype of an embedding of the same model that
 * another model lacks, and heads that adapters saved whole. Only contiguous tensors.
 */
export function twinCandidates(recipe: Recipe, checkpoints: ReadonlyMap<string, Checkpoint>): TwinCandidate[] {
  const found: TwinCandidate[] = []
  const pair = (model: string, tensor: StoredTensor, other: string, embeddings: readonly StoredTensor[]): void => {
    for (const embedding of embeddings)
      if (embedding !== tensor && embedding.dtype === tensor.dtype && sameShape(embedding.shape, tensor.shape))
        found.push({ of: { model, tensor: tensor.name }, embedding: { model: other, tensor: embedding.name } })
  }
  const models = [...checkpoints].filter(([name]) => recipe.models.get(name)?.companion === undefined)
  for (const [model, { stored }] of models) {
    const embeddings = embeddingsOf(stored, (name) => name)
    if (embeddings.length === 0) continue
    const isLacking = (name: string): boolean => models.some(([, other]) => !other.stored.has(name))
    const matrices = [...stored.values()].filter(
      ({ shape, dtype, strides }) => shape.length === 2 && isFloat(dtype) && !strides,
    )
    const alone = matrices.filter(({ name }) => !EMBEDDING.test(name) && !SHARED.test(name) && isLacking(name))
    for (const tensor of alone) pair(model, tensor, model, embeddings)
  }
  for (const [name, { lora }] of recipe.models) {
    const [base, adapter] = [checkpoints.get(name), lora === undefined ? undefined : checkpoints.get(lora)]
    if (lora === undefined || !base || !adapter) continue
    const [own, saved] = [embeddingsOf(base.stored, (name) => name), embeddingsOf(adapter.stored, adapterTensorName)]
    for (const tensor of adapter.stored.values()) {
      if (!HEAD.test(adapterTensorName(tensor.name))) continue
      pair(lora, tensor, name, own)
      pair(lora, tensor, lora, saved)
    }
  }
  return found.slice(0, MOST * checkpoints.size)
}

const embeddingsOf = (tensors: Checkpoint['stored'], nameOf: (stored: string) => string): StoredTensor[] =>
  [...tensors.values()].filter(({ name, strides }) => EMBEDDING.test(nameOf(name)) && !strides)

/** The candidates with equal content, in the form that plans need. */
export function twinsOf(candidates: readonly TwinCandidate[]): Twins {
  const twins = new Map<string, Map<string, Twin[]>>()
  for (const { of, embedding } of candidates) {
    const own = twins.get(of.model) ?? new Map<string, Twin[]>()
    twins.set(of.model, own)
    own.set(of.tensor, [...(own.get(of.tensor) ?? []), embedding])
  }
  return twins
}
