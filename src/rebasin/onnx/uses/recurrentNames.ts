/** Tensors of recurrent layers. Exports store them in another order of gates, several tensors in one initializer. */
import type { Shapes } from '../../spec.js'
import type { OnnxNode } from '../graph/model.js'
import { tensorAt } from './names.js'
import type { Use } from './roles.js'

/** The tensors of one direction of a layer. */
export interface RecurrentNames {
  readonly input: string
  readonly hidden: string
  readonly biases: readonly string[]
}

const RECURRENT = ['LSTM', 'GRU', 'RNN']

/** By node: the tensors of its layer in its module, by direction. A module's layers follow one another in the graph. */
export function recurrentTensors(
  nodes: readonly OnnxNode[],
  shapes: Shapes,
  ends: ReadonlyMap<string, readonly string[]>,
): ReadonlyMap<OnnxNode, readonly RecurrentNames[]> {
  const found = new Map<OnnxNode, readonly RecurrentNames[]>()
  const layers = new Map<string, number>()
  for (const node of nodes) {
    const { scope, op, texts } = node
    if (scope === undefined || !RECURRENT.includes(op)) continue
    const layer = layers.get(scope) ?? 0
    layers.set(scope, layer + 1)
    const suffixes = texts.get('direction') === 'bidirectional' ? ['', '_reverse'] : ['']
    const tensor = (part: string, suffix: string) => tensorAt(`${scope}.${part}_l${layer}${suffix}`, shapes, ends)
    const directions = suffixes.flatMap((suffix): RecurrentNames[] => {
      const [input, hidden] = [tensor('weight_ih', suffix), tensor('weight_hh', suffix)]
      const biases = ['bias_ih', 'bias_hh'].flatMap((part) => tensor(part, suffix) ?? [])
      if (input === undefined || hidden === undefined) return []
      const shape = shapes.get(hidden)!.shape
      return shape.length === 2 && shapes.get(input)!.shape.length === 2 ? [{ input, hidden, biases }] : []
    })
    if (directions.length === suffixes.length) found.set(node, directions)
  }
  return found
}

/** The tensors that uses and recurrent layers read. */
export const tensorsRead = (
  uses: ReadonlyMap<string, Use>,
  recurrent: ReadonlyMap<OnnxNode, readonly RecurrentNames[]>,
): Set<string> =>
  new Set([
    ...[...recurrent.values()].flat().flatMap(({ input, hidden, biases }) => [input, hidden, ...biases]),
    ...[...uses.values()].map(({ tensor }) => tensor),
  ])
