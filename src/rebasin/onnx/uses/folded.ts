/**
 * Tensors that an export folds into a layer: biases of zeros that it leaves out, and BatchNorms after convolutions. They
 * follow the output channels of the layer.
 */
import { addTo } from '../../../core/collections/lists.js'
import type { Shapes } from '../../spec.js'
import type { OnnxGraph, OnnxNode } from '../graph/model.js'
import { type RecurrentNames, tensorsRead } from './recurrentNames.js'
import type { Use } from './roles.js'

/** A layer with weights. */
interface Layer {
  readonly node: OnnxNode
  /** The name of its module. */
  readonly module: string
  /** Output channels. */
  readonly channels: number
  /** Whether a BatchNorm may be in its weight or its bias. */
  readonly mayHold: boolean
}

const NORM_PARTS = ['weight', 'bias', 'running_mean', 'running_var']

export function foldedTensors(
  graph: OnnxGraph,
  tensors: ReadonlyMap<string, Use>,
  shapes: Shapes,
  recurrent: ReadonlyMap<OnnxNode, readonly RecurrentNames[]>,
): ReadonlyMap<OnnxNode, readonly string[]> {
  const read = tensorsRead(tensors, recurrent)
  const layers = layersOf(graph, tensors, shapes)
  const norms = unreadNorms(shapes, read)
  const found = new Map<OnnxNode, string[]>()
  const add = ({ node }: Layer, tensor: string) => {
    addTo(found, node, tensor)
    read.add(tensor)
  }
  for (const [layer, norm] of pairs(layers, norms))
    for (const part of NORM_PARTS) if (shapes.has(`${norm}.${part}`)) add(layer, `${norm}.${part}`)
  for (const layer of layers) {
    const bias = `${layer.module}.bias`
    const shape = shapes.get(bias)?.shape
    if (shape?.length === 1 && shape[0] === layer.channels && !read.has(bias)) add(layer, bias)
  }
  return found
}

const LAYERS = ['Conv', 'ConvTranspose', 'Gemm', 'MatMul']

function layersOf(graph: OnnxGraph, tensors: ReadonlyMap<string, Use>, shapes: Shapes): Layer[] {
  return graph.nodes.flatMap((node): Layer[] => {
    const [, weight, bias] = node.inputs
    const use = weight === undefined ? undefined : tensors.get(weight)
    if (!LAYERS.includes(node.op) || !use?.tensor.endsWith('.weight')) return []
    const { shape } = shapes.get(use.tensor)!
    const channels = node.op === 'ConvTranspose' ? shape[1] : shape[0]
    if (channels === undefined || shape.length < 2) return []
    const module = use.tensor.slice(0, -'.weight'.length)
    const isRenamed = !weight!.startsWith(`${use.tensor}\n`)
    const isUnknown = bias !== undefined && bias !== '' && !tensors.has(bias)
    return [{ node, module, channels, mayHold: isRenamed || isUnknown || node.scope !== module }]
  })
}

/**
 * BatchNorms whose statistics no node reads, with their numbers of channels. The newer exporter may give the bias of the
 * folded convolution the name of the norm's bias.
 */
function unreadNorms(shapes: Shapes, read: ReadonlySet<string>): Map<string, number> {
  const norms = new Map<string, number>()
  for (const [name, { shape }] of shapes) {
    if (!name.endsWith('.running_mean') || shape.length !== 1) continue
    const module = name.slice(0, -'.running_mean'.length)
    const parts = NORM_PARTS.filter((part) => shapes.has(`${module}.${part}`))
    const isUnread = ['running_mean', 'running_var'].every((part) => !read.has(`${module}.${part}`))
    if (isUnread && parts.every((part) => shapes.get(`${module}.${part}`)!.shape.join() === String(shape[0])))
      norms.set(module, shape[0]!)
  }
  return norms
}

const parentOf = (module: string) => module.slice(0, Math.max(0, module.lastIndexOf('.')))
const lastOf = (module: string) => module.slice(module.lastIndexOf('.') + 1)

/** Layers with the BatchNorm that was folded into each. */
function pairs(layers: readonly Layer[], norms: ReadonlyMap<string, number>): [Layer, string][] {
  const left = new Map(norms)
  const found: [Layer, string][] = []
  const waiting: Layer[] = []
  for (const layer of layers.filter(({ mayHold }) => mayHold)) {
    // The newer exporter names the norm as the module of the folded node.
    const { scope } = layer.node
    if (scope === undefined || !left.has(scope)) waiting.push(layer)
    else if (left.get(scope) === layer.channels) {
      found.push([layer, scope])
      left.delete(scope)
    }
  }
  const byParent = new Map<string, Layer[]>()
  for (const layer of waiting) addTo(byParent, `${parentOf(layer.module)}\n${layer.channels}`, layer)
  for (const [key, rivals] of byParent) {
    const siblings = [...left]
      .filter(([norm, channels]) => `${parentOf(norm)}\n${channels}` === key)
      .map(([norm]) => norm)
    for (const layer of rivals) {
      const norm = siblingOf(layer, rivals, siblings)
      if (norm !== undefined) found.push([layer, norm])
    }
  }
  return found
}

/** The only norm next to the only layer, or the one that is named like the layer, and like no other. */
function siblingOf(layer: Layer, rivals: readonly Layer[], norms: readonly string[]): string | undefined {
  const modules = new Set(rivals.map(({ module }) => module))
  if (modules.size === 1 && norms.length === 1) return norms[0]
  const alike = norms.filter((norm) => areNamedAlike(layer.module, norm))
  const other = [...modules].filter((module) => alike.some((norm) => areNamedAlike(module, norm)))
  return alike.length === 1 && other.length === 1 ? alike[0] : undefined
}

/** `conv1` and `bn1`, `downsample.0` and `downsample.1`. */
function areNamedAlike(layer: string, norm: string): boolean {
  const [x, y] = [lastOf(layer), lastOf(norm)]
  if (/^\d+$/.test(x) && /^\d+$/.test(y)) return Number(y) === Number(x) + 1
  const [a, b] = [x.replace(/conv(olution)?|fc|linear/, ''), y.replace(/bn|(batch_?)?norm(alization)?/, '')]
  return a !== x && b !== y && a.replaceAll('_', '') === b.replaceAll('_', '')
}
