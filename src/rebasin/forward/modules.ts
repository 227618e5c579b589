/**
 * Modules of torch.nn that are known by all of their names, in networks that are not: what is inside of them moves. What
 * goes in and comes out keeps its order, because other layers read it.
 */
import { specOfWalk } from '../axes/specText.js'
import type { Shapes, Spec } from '../spec.js'
import { configuredHeads, type Heads, multihead } from './attention.js'
import { type Config, follow, type Net, still } from './network.js'
import { buffer, linear } from './words.js'

export interface KnownModules {
  readonly spec: Spec
  /** Tensors of no known module. */
  readonly rest: readonly string[]
}

/** Undefined if nothing inside of them can move. */
export function knownModules(shapes: Shapes, config: Config): KnownModules | undefined {
  const layers = endings(shapes, '.self_attn.in_proj_weight').filter((layer) => isLayer(shapes, layer))
  const all = endings(shapes, 'in_proj_weight')
    .map((start) => start.replace(/\.$/, ''))
    .filter((module) => isAttention(shapes, module))
  if (all.length === 0) return undefined
  const walked = follow(shapes, '', config, (net) => {
    for (const module of all) attention(net, module, layers.includes(module.replace(/\.\w+$/, '')))
    for (const layer of layers) feedForward(net, layer)
  })
  const rest = walked.unread.filter((name) => shapes.get(name)!.shape.some((size) => size > 1))
  const spec = specOfWalk(walked, shapes, { unread: new Map(), kept: [] })
  return Object.keys(spec.groups).length === 0 ? undefined : { spec, rest }
}

/** What stands before an ending of names. */
const endings = (shapes: Shapes, end: string): string[] =>
  [...shapes.keys()].flatMap((name) => (name.endsWith(end) ? [name.slice(0, name.length - end.length)] : []))

const own = (shapes: Shapes, module: string): string[] => {
  const start = module === '' ? '' : `${module}.`
  return [...shapes.keys()].filter((name) => name.startsWith(start)).map((name) => name.slice(start.length))
}

const hasShape = (shapes: Shapes, name: string, ...wanted: readonly (number | undefined)[]): boolean =>
  shapes.get(name)?.shape.join() === wanted.join()

/** `nn.MultiheadAttention` with one weight for queries, keys and values. */
function isAttention(shapes: Shapes, module: string): boolean {
  const at = module === '' ? '' : `${module}.`
  const size = shapes.get(`${at}in_proj_weight`)!.shape[1]!
  const bias = ['in_proj_bias', 'out_proj.bias'].filter((part) => shapes.has(at + part))
  return (
    own(shapes, module).every((part) => /^(in_proj_(weight|bias)|out_proj\.(weight|bias))$/.test(part)) &&
    hasShape(shapes, `${at}in_proj_weight`, 3 * size, size) &&
    hasShape(shapes, `${at}out_proj.weight`, size, size) &&
    (bias.length === 0 ||
      (hasShape(shapes, `${at}in_proj_bias`, 3 * size) && hasShape(shapes, `${at}out_proj.bias`, size)))
  )
}

const BETWEEN = 'other layers may read what goes from module to module'

const LAYER =
  /^((self_attn|multihead_attn)\.(in_proj_(weight|bias)|out_proj\.(weight|bias))|(linear[12]|norm[123])\.(weight|bias))$/

/** `nn.TransformerEncoderLayer` or `nn.TransformerDecoderLayer`. */
function isLayer(shapes: Shapes, layer: string): boolean {
  const crossed = shapes.has(`${layer}.multihead_attn.in_proj_weight`)
  const size = shapes.get(`${layer}.self_attn.in_proj_weight`)!.shape[1]
  const wide = shapes.get(`${layer}.linear1.weight`)?.shape[0]
  return (
    own(shapes, layer).every((part) => LAYER.test(part)) &&
    hasShape(shapes, `${layer}.linear1.weight`, wide, size) &&
    hasShape(shapes, `${layer}.linear2.weight`, size, wide) &&
    (crossed ? ['norm1', 'norm2', 'norm3'] : ['norm1', 'norm2']).every((part) =>
      hasShape(shapes, `${layer}.${part}.weight`, size),
    ) &&
    crossed === shapes.has(`${layer}.norm3.weight`)
  )
}

/** Other layers may read the weights of each head. Those of a transformer do not. */
function attention(net: Net, module: string, inLayer: boolean): void {
  const at = module === '' ? '' : `${module}.`
  const size = net.shape(`${at}in_proj_weight`)[1]!
  const count = configuredHeads(net)
  const isKnown = count !== undefined && size % count === 0
  const heads: Heads | undefined = isKnown ? { count, axes: inLayer ? [] : [still(count)] } : undefined
  net.fix(multihead(net, still(size), module, heads), BETWEEN)
}

function feedForward(net: Net, layer: string): void {
  const stream = still(net.shape(`${layer}.linear1.weight`)[1]!)
  net.fix(linear(net, linear(net, stream, `${layer}.linear1`), `${layer}.linear2`), BETWEEN)
  for (const part of ['norm1', 'norm2', 'norm3']) buffer(net, `${layer}.${part}.weight`, `${layer}.${part}.bias`)
}
