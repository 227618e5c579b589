/** What of a network an adapter can hold, by the names and shapes of its tensors. */

/** How a tensor goes into an adapter of PEFT's form. */
export interface AdaptedLayer {
  readonly kind: 'linear' | 'convolution' | 'embedding'
  /** The tensor is stored [in, out]: embeddings, and GPT-2's layers. */
  readonly turned: boolean
}

type Shape = readonly number[]

const EMBEDDING =
  /(^|[._])(embed_tokens|embed_in|embed_positions|\w*embed(s|ding|dings)?|wte|wpe|shared|relative_attention_bias)$/i
const HEAD = /(^|[._])(unembed\w*|output_embeddings)$/i

/** The module of a tensor, and what it is called there: `a.b.weight` is `weight` of `a.b`. */
export function moduleOf(tensor: string): { readonly module: string; readonly part: string } {
  const dot = tensor.lastIndexOf('.')
  return { module: tensor.slice(0, Math.max(0, dot)), part: tensor.slice(dot + 1) }
}

/**
 * The layer that a tensor is the weight of, as far as adapters know its kind; undefined for all else. `isTurned`: whether a linear
 * layer is stored [in, out].
 */
export function adaptedLayer(
  tensor: string,
  shape: Shape,
  isTurned: (module: string) => boolean,
): AdaptedLayer | undefined {
  const { module, part } = moduleOf(tensor)
  if (part !== 'weight' || module === '' || shape.includes(0)) return undefined
  // Of a convolution with one channel in, a checkpoint does not tell the groups.
  if (shape.length === 4) return shape[1]! > 1 ? { kind: 'convolution', turned: false } : undefined
  if (shape.length !== 2) return undefined
  if (EMBEDDING.test(module) && !HEAD.test(module)) return { kind: 'embedding', turned: true }
  return { kind: 'linear', turned: isTurned(module) }
}

/** Tensors of a module that is saved whole: nothing else is known to be a module's own. */
export const SAVED_PARTS: readonly string[] = ['weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked']

/** Names of a layer's factors in the adapter. */
export function factorNames({ kind }: AdaptedLayer, module: string): { readonly a: string; readonly b: string } {
  const name = `base_model.model.${module}`
  return kind === 'embedding'
    ? { a: `${name}.lora_embedding_A`, b: `${name}.lora_embedding_B` }
    : { a: `${name}.lora_A.weight`, b: `${name}.lora_B.weight` }
}

/** Shapes of the factors; a convolution's B has a kernel of one place. */
export function factorShapes(
  { kind, turned }: AdaptedLayer,
  shape: Shape,
  rank: number,
): { readonly a: Shape; readonly b: Shape } {
  const [rows, ...rest] = shape
  if (turned) return { a: [rank, rows!], b: [rest[0]!, rank] }
  return { a: [rank, ...rest], b: [rows!, rank, ...(kind === 'convolution' ? [1, 1] : [])] }
}

/** A module's last part; of one that is called by a number, from the part on that says what is numbered. */
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
 * The shortest names that stand for these modules and no others: the tail where all of `all`, and of what holds these, that end in it
 * are meant. Readers take a name for everything that ends in it.
 */
export function targetNames(modules: readonly string[], all: readonly string[]): string[] {
  const meant = new Set(modules)
  const holders = all.flatMap((module) => [...module.matchAll(/\./g)].map(({ index }) => module.slice(0, index)))
  const others = new Set([...all, ...holders].filter((module) => !meant.has(module)).map(tailOf))
  return [...new Set(modules.map((module) => (others.has(tailOf(module)) ? module : tailOf(module))))].sort()
}
