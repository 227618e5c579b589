/**
 * Networks that are known by all of their names and shapes. A digest of these identifies the architecture, so how its layers
 * connect is certain. What a user changes most is left open: the input's channels, the kernel of the first convolution, and the
 * number of classes. Tensors beside a known network are allowed, but they may read what goes from block to block.
 */
import { sha256 } from '../../../core/digest.js'
import type { Shapes } from '../../spec.js'
import { DIGESTS } from './digests.js'

/** Where the parts of an architecture are. */
interface Layout {
  /** The first layer. */
  readonly stem: string
  /** All tensors but those of the head. */
  readonly body: RegExp
  /** The last layer, with one row per class. */
  readonly head: string
}

const LAYOUTS: readonly Layout[] = [
  { stem: 'conv1', body: /^(conv1|bn1|layer[1-4])\./, head: 'fc' },
  { stem: 'conv1', body: /^(conv1|bn1|layer[1-4])\./, head: 'linear' },
  { stem: 'features.0', body: /^(features|classifier)\.(?!6\.(weight|bias)$)|^features\.6\./, head: 'classifier.6' },
  { stem: 'features.0.0', body: /^features\./, head: 'classifier.1' },
  { stem: 'features.0.0', body: /^(features|classifier\.0)\./, head: 'classifier.3' },
  { stem: 'layers.0', body: /^layers\./, head: 'classifier.1' },
]

/** A known network in a model. */
export interface NamedNetwork {
  /** As torchvision names it. */
  readonly name: string
  readonly shapes: Shapes
  /** The model's other tensors. */
  readonly rest: readonly string[]
}

/** The known network in a model, if there is exactly one. */
export function namedNetwork(shapes: Shapes): NamedNetwork | undefined {
  const found = new Map<string, NamedNetwork>()
  for (const layout of LAYOUTS)
    for (const prefix of prefixesOf(shapes, layout)) {
      const network = networkAt(shapes, layout, prefix)
      const known = found.get(prefix)
      // Layouts can differ in their head alone.
      if (network && (!known || network.rest.length < known.rest.length)) found.set(prefix, network)
    }
  const [only, ...more] = found.values()
  return more.length === 0 ? only : undefined
}

/** What can stand before the names of a layout. */
function prefixesOf(shapes: Shapes, { stem }: Layout): string[] {
  const end = `${stem}.weight`
  return [...shapes.keys()].flatMap((name) => {
    const prefix = name.slice(0, name.length - end.length)
    return name.endsWith(end) && (prefix === '' || prefix.endsWith('.')) ? [prefix] : []
  })
}

/** Counters say nothing, and older files have none. */
const COUNTER = /(^|\.)num_batches_tracked$/

function networkAt(shapes: Shapes, { stem, body, head }: Layout, prefix: string): NamedNetwork | undefined {
  const own = new Map<string, { readonly shape: readonly number[] }>()
  const lines: string[] = []
  for (const [name, tensor] of shapes) {
    if (!name.startsWith(prefix)) continue
    const short = name.slice(prefix.length)
    if (!body.test(short)) continue
    own.set(name, tensor)
    if (COUNTER.test(short)) continue
    const shape = short === `${stem}.weight` ? [tensor.shape[0], ...tensor.shape.slice(1).map(() => '*')] : tensor.shape
    lines.push(`${short} ${shape.join('x')}`)
  }
  const name = DIGESTS.get(sha256(lines.sort().join('\n')).slice('sha256:'.length, 'sha256:'.length + 16))
  if (name === undefined) return undefined
  const tensors = [`${prefix}${head}.weight`, `${prefix}${head}.bias`]
  const [weight, bias] = tensors.map((tensor) => shapes.get(tensor)?.shape)
  // With another head, the body is the same.
  if (weight?.length === 2 && (bias === undefined || (bias.length === 1 && bias[0] === weight[0])))
    for (const tensor of tensors) if (shapes.has(tensor)) own.set(tensor, shapes.get(tensor)!)
  const rest = [...shapes].filter(([tensor, { shape }]) => !own.has(tensor) && shape.some((size) => size > 1))
  return { name, shapes: own, rest: rest.map(([tensor]) => tensor) }
}
