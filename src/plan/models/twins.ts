import { savedName } from '../../adapters/index.js'
import type { Checkpoint, LogicalTensor } from '../../checkpoints/types.js'
import { sameShape } from '../../core/dtypes.js'
import { isFloat } from '../../encodings/index.js'
import { EMBEDDING, HEAD, SHARED } from '../../networks/tied.js'
import type { Recipe } from '../../recipe/types.js'
import { isPlain } from '../../views/stored.js'
import type { Twin, Twins } from './tied.js'

/** Two tensors that may have equal content. Headers do not show it, and a plan may depend on it. */
export interface TwinCandidate {
  readonly of: Twin
  readonly embedding: Twin
}

/** A model has one head or a few. */
const MOST = 16

/**
 * Pairs whose content a plan needs to compare: tensors with the shape and dtype of an embedding of the same model that
 * another model lacks, and heads that adapters saved whole. Only tensors that are stored contiguously, whole or in parts.
 */
export function twinCandidates(recipe: Recipe, checkpoints: ReadonlyMap<string, Checkpoint>): TwinCandidate[] {
  const found: TwinCandidate[] = []
  const pair = (model: string, tensor: LogicalTensor, other: string, embeddings: readonly LogicalTensor[]): void => {
    for (const embedding of embeddings)
      if (embedding !== tensor && embedding.dtype === tensor.dtype && sameShape(embedding.shape, tensor.shape))
        found.push({ of: { model, tensor: tensor.name }, embedding: { model: other, tensor: embedding.name } })
  }
  const models = [...checkpoints].filter(([name]) => recipe.models.get(name)?.companion === undefined)
  for (const [model, { tensors }] of models) {
    const embeddings = embeddingsOf(tensors, (name) => name)
    if (embeddings.length === 0) continue
    const isLacking = (name: string): boolean => models.some(([, other]) => !other.tensors.has(name))
    const matrices = [...tensors.values()].filter(
      (tensor) => tensor.shape.length === 2 && isFloat(tensor.dtype) && isComparable(tensor),
    )
    const alone = matrices.filter(({ name }) => !EMBEDDING.test(name) && !SHARED.test(name) && isLacking(name))
    for (const tensor of alone) pair(model, tensor, model, embeddings)
  }
  for (const [name, { lora }] of recipe.models) {
    const [base, adapter] = [checkpoints.get(name), lora === undefined ? undefined : checkpoints.get(lora)]
    if (lora === undefined || !base || !adapter) continue
    const [own, saved] = [embeddingsOf(base.tensors, (name) => name), embeddingsOf(adapter.tensors, savedName)]
    for (const tensor of adapter.tensors.values()) {
      if (!HEAD.test(savedName(tensor.name)) || !isComparable(tensor)) continue
      pair(lora, tensor, name, own)
      pair(lora, tensor, lora, saved)
    }
  }
  return found.slice(0, MOST * checkpoints.size)
}

const embeddingsOf = (tensors: Checkpoint['tensors'], nameOf: (stored: string) => string): LogicalTensor[] =>
  [...tensors.values()].filter((tensor) => EMBEDDING.test(nameOf(tensor.name)) && isComparable(tensor))

/** Whether the bytes of a tensor are those of its stored parts, one after another. */
const isComparable = ({ view }: LogicalTensor): boolean =>
  isPlain(view) || (view.kind === 'concat' && view.parts.every(isPlain))

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
