/** The layers of a network that an adapter can change, by names and shapes of tensors. */

/** How an adapter in PEFT's form represents a tensor. */
export interface AdaptedLayer {
  readonly kind: 'linear' | 'convolution' | 'embedding'
  /** Whether the tensor is stored as [in, out]: embeddings, and layers of GPT-2. */
  readonly turned: boolean
}

type Shape = readonly number[]

const EMBEDDING = /(^|[._])(embed_tokens|embed_in|\w*embed(s|ding|dings)?|wte|wpe|shared|relative_attention_bias)$/i
const HEAD = /(^|[._])(unembed\w*|output_embeddings)$/i

/**
 * Embeddings that compute in a way of their own, or whose weight networks read without calling them: PEFT would load an update of them
 * and not compute with it.
 */
const OWN_FORWARD =
  /(^|\.)(embed_positions|rel_embeddings|query_embed|query_position_embeddings|level_embed|(iou|obj_score)_token|mask_tokens|(not_a_point|no_mask)_embed|point_embed\.\d+)$/

/** The module of a tensor, and the tensor's name in it: `a.b.weight` is `weight` of `a.b`. */
export function moduleOf(tensor: string): { readonly module: string; readonly part: string } {
  const dot = tensor.lastIndexOf('.')
  return { module: tensor.slice(0, Math.max(0, dot)), part: tensor.slice(dot + 1) }
}

/**
 * The layer that has this tensor as its weight, if adapters support its kind. `isTurned`: whether a linear layer is
 * stored as [in, out].
 */
export function adaptedLayer(
  tensor: string,
  shape: Shape,
  isTurned: (module: string) => boolean,
): AdaptedLayer | undefined {
  const { module, part } = moduleOf(tensor)
  if (part !== 'weight' || module === '' || shape.includes(0)) return undefined
  // For convolutions with one input channel, the shape does not show the number of groups.
  if (shape.length === 4) return shape[1]! > 1 ? { kind: 'convolution', turned: false } : undefined
  if (shape.length !== 2 || OWN_FORWARD.test(module)) return undefined
  if (EMBEDDING.test(module) && !HEAD.test(module)) return { kind: 'embedding', turned: true }
  return { kind: 'linear', turned: isTurned(module) }
}

/** Tensors of a module that is saved in full. Others are not known to belong to a module. */
export const SAVED_PARTS: readonly string[] = ['weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked']

/** Modules that PEFT copies whole for a task, even if `modules_to_save` does not name them. */
const COPIED: Readonly<Record<string, RegExp>> = {
  SEQ_CLS: /(^|\.)(classifier|score)(\.|$)/,
  TOKEN_CLS: /(^|\.)(classifier|score)(\.|$)/,
  QUESTION_ANS: /(^|\.)qa_outputs(\.|$)/,
}

/** The task, or null if PEFT would look for a tensor of its head among these that is not saved whole. */
export function loadableTask<T>(task: T, tensors: Iterable<string>, saved: ReadonlySet<string>): T | null {
  const head = COPIED[String(task)]
  if (!head) return task
  for (const name of tensors) if (!saved.has(name) && head.test(moduleOf(name).module)) return null
  return task
}

/** The names of a layer's factors in the adapter. */
export function factorNames({ kind }: AdaptedLayer, module: string): { readonly a: string; readonly b: string } {
  const name = `base_model.model.${module}`
  return kind === 'embedding'
    ? { a: `${name}.lora_embedding_A`, b: `${name}.lora_embedding_B` }
    : { a: `${name}.lora_A.weight`, b: `${name}.lora_B.weight` }
}

/** The shapes of the factors. The B of a convolution has a kernel of size 1. */
export function factorShapes(
  { kind, turned }: AdaptedLayer,
  shape: Shape,
  rank: number,
): { readonly a: Shape; readonly b: Shape } {
  const [rows, ...rest] = shape
  if (turned) return { a: [rank, rows!], b: [rest[0]!, rank] }
  return { a: [rank, ...rest], b: [rows!, rank, ...(kind === 'convolution' ? [1, 1] : [])] }
}

/** The last part of a module's name. If that is a number: the name from the part that is numbered. */
const tailOf = (module: string): string => {
  const parts = module.split('.')
  return parts
    .slice(
      Math.max(
        0,
        parts.findLastIndex((part) => !/^\d+$/.test(part)),
      ),
    )
    .join('.')
}

/**
 * The shortest names that match these modules and no others. A tail is used if all modules in `all`, and all modules
 * above them, that end with it are included. Readers apply a name to everything that ends with it.
 */
export function targetNames(modules: readonly string[], all: readonly string[]): string[] {
  const meant = new Set(modules)
  const holders = all.flatMap((module) => [...module.matchAll(/\./g)].map(({ index }) => module.slice(0, index)))
  const others = new Set([...all, ...holders].filter((module) => !meant.has(module)).map(tailOf))
  return [...new Set(modules.map((module) => (others.has(tailOf(module)) ? module : tailOf(module))))].sort()
}
