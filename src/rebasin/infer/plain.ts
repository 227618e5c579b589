/**
 * What names and shapes say against a sequence of layers. Whoever writes `spec: chain` says that there is nothing but the sequence,
 * and a model that says something else is refused, or keeps the order of the channels in question.
 */
import type { Link } from './chain.js'
import type { Module } from './modules.js'

/** Parts of names that layers beside a sequence have. */
const BESIDE =
  /^(short_?cuts?|skip(_?con\w*)?|identity\w*|res(idual)?s?(_?(block|conv|layer|path|net)s?)?|branch(es)?|\w*towers?|gates?|gating|experts?|squeeze_?(and_?)?exci\w*|attn|\w*attention|side|aux\w*)$/i

/** Names of layers that stand beside each other where both are there. */
const PAIRS: readonly (readonly [RegExp, RegExp])[] = [
  [/^(actor|pi|policy\w*)$/i, /^(critic|v|vf|value\w*)$/i],
  [/^value\w*$/i, /^adv\w*$/i],
  [/^left\w*$/i, /^right\w*$/i],
  [/^(mu|mean)$/i, /^(log_?)?(var|std|sigma)\w*$/i],
  [/^(q|query|q_proj)$/i, /^(k|key|k_proj)$/i],
  [/^down_?(block|conv|layer|path|sampl\w*)?s?$/i, /^up_?(block|conv|layer|path|sampl\w*)?s?$/i],
  [/^user\w*$/i, /^item\w*$/i],
]

/** Several of these with numbers are several outputs. */
const OUTPUT = /^(heads?|classifiers?|logits|out(put)?s?|pred\w*|exits?)$/i

const EMBEDDING = /(^|[._])(embed\w*|emb|wte|wpe|tok(en)?s?(_emb\w*)?|lookup|codebook|vocab\w*)([._]?\d*)(\.|$)/i

/** Parts of a name without their numbers. */
const partsOf = ({ name }: Module): string[] => name.split('.').map((part) => part.replace(/_?\d+$/, ''))

/** A layer whose name says that it stands beside the others, with the part that says so. */
export function besideOthers(layers: readonly Module[]): { readonly layer: Module; readonly why: string } | undefined {
  for (const layer of layers) {
    const part = partsOf(layer).find((one) => BESIDE.test(one))
    if (part !== undefined) return { layer, why: `${part} is a name of layers beside a sequence` }
  }
  for (const [one, other] of PAIRS) {
    const [first, second] = [one, other].map((name) => layers.find((layer) => partsOf(layer).some((p) => name.test(p))))
    if (first && second && first !== second)
      return { layer: second, why: `${first.name} and ${second.name} are names of layers beside each other` }
  }
  const heads = new Map<string, Module>()
  for (const layer of layers) {
    const [top = ''] = layer.name.split('.')
    const kind = top.replace(/_?\d+$/, '')
    if (kind === top || !OUTPUT.test(kind)) continue
    const known = heads.get(kind)
    if (known && known.name.split('.')[0] !== top)
      return { layer, why: `${known.name} and ${layer.name} are names of two outputs` }
    heads.set(kind, known ?? layer)
  }
  return undefined
}

/** A table of rows by token, as its name says: it has one row per token and one column per unit. */
export const isEmbedding = ({ name, shape, tensors }: Module): boolean =>
  shape.length === 2 && tensors.length === 1 && EMBEDDING.test(name)

/** A linear layer without a bias may be a table, by its name or in a network with biases. Only a square one has two readings. */
export const mayBeTable = (first: Module, layers: readonly Module[]): boolean =>
  first.shape.length === 2 &&
  first.shape[0] === first.shape[1] &&
  first.tensors.length === 1 &&
  (isEmbedding(first) || layers.some((layer) => layer !== first && layer.tensors.length > 1))

/** Places per channel that come from poolings side by side as well: mean, maximum and deviation. */
const FEW = 3

/** Why a layer may read something else than the layer before it, although its size fits. */
export function doubtOf(
  layer: Module,
  how: Link | undefined,
  before: Module | undefined,
  input: number,
): string | undefined {
  if (how?.kind === 'flatten' && before) {
    const axes = before.shape.length - 2
    const what = `${layer.name} reads ${how.times} numbers per channel of ${before.name}`
    if (how.times <= FEW) return `${what}: a picture, or several poolings side by side`
    if (axes === 2 && !Number.isInteger(Math.sqrt(how.times)))
      return `${what}, which is not a square picture: it may read several poolings side by side, or other inputs`
  }
  if (how?.kind === 'depthwise') {
    const kernel = layer.shape.slice(2)
    const what = `${layer.name} has one input channel`
    if (kernel.some((size) => size !== kernel[0]))
      return `${what} and a kernel of ${kernel.join('×')}: it may read the input, and not each channel of ${before?.name ?? 'the layer before it'}`
    if (input === 1 && before && String(before.shape.slice(2)) !== String(kernel))
      return `${what}, as the model itself, and another kernel than ${before.name}: it may read the input, and not each channel`
  }
  return undefined
}
