/** LSTM, GRU and RNN layers of torch.nn, in chains with linear layers and embeddings. */
import { tieGates } from '../axes/blocks.js'
import { specOfWalk } from '../axes/specText.js'
import { orderOf } from '../infer/chain.js'
import { type Module, modulesOf } from '../infer/modules.js'
import type { Shapes, Spec } from '../spec.js'
import { type Channels, demand, follow, Misfit, type Net } from './network.js'
import { add, concat, count, embedding, linear, output } from './words.js'

const FIRST_LAYER = /(^|\.)weight_ih_l0$/
const OWN = /(^|\.)(weight|bias)_(ih|hh|hr)_l\d+(_reverse)?$/
const TABLE = /(emb|wte|token)[^.]*$/i

export const hasRecurrent = (shapes: Shapes): boolean => [...shapes.keys()].some((name) => FIRST_LAYER.test(name))

/** The spec of a chain, or why there is none. */
export function recurrentChain(shapes: Shapes): { readonly spec: Spec } | { readonly problem: string } {
  const { modules, rest } = modulesOf(shapes)
  const strange = [
    ...rest.filter((name) => !OWN.test(name)),
    ...modules.flatMap(({ kind, name }) => (kind === 'norm' ? [name] : [])),
  ]
  if (strange.length > 0) return { problem: `terge does not know where ${strange[0]} belongs in the network` }
  const stacks = rest.filter((name) => FIRST_LAYER.test(name)).map((name) => name.replace(/\.?weight_ih_l0$/, ''))
  const tables = modules.filter(
    ({ name, tensors, shape }) => TABLE.test(name) && tensors.length === 1 && shape.length === 2,
  )
  const items = [
    ...modules.map((layer) => itemOf(tables.includes(layer) ? turned(layer) : layer)),
    ...stacks.map((name) => stackItem(shapes, name)),
  ]
  const ordered = orderOf(items)
  if ('problem' in ordered) return ordered
  try {
    const walked = follow(shapes, '', undefined, (net) => {
      let x: Channels | undefined
      for (const { name, first } of ordered.order) {
        if (stacks.includes(name)) x = stack(net, x, name)
        else if (tables.some((table) => table.name === name)) {
          demand(x === undefined, `the table ${name} is not the first layer`)
          x = embedding(net, name)
        } else {
          // Whether a square one is transposed is not known.
          demand(first.shape.length === 2, `${name} is a convolution beside recurrent layers`)
          x = linear(net, x, name)
        }
      }
      output(net, x!)
    })
    return { spec: specOfWalk(walked, shapes, { unread: new Map(), kept: [] }) }
  } catch (error) {
    if (error instanceof Misfit) return { problem: error.message }
    throw error
  }
}

const itemOf = (layer: Module) => ({ name: layer.name, first: layer, last: layer, size: layer.shape[0]! })

/** A table gives as many units as it has columns. */
const turned = (layer: Module): Module => ({ ...layer, shape: [...layer.shape].reverse() })

const tensor = (module: string, name: string): string => (module === '' ? name : `${module}.${name}`)

function stackItem(shapes: Shapes, name: string) {
  const directions = shapes.has(tensor(name, 'weight_ih_l0_reverse')) ? 2 : 1
  const inputs = shapes.get(tensor(name, 'weight_ih_l0'))!.shape[1]!
  const units = shapes.get(tensor(name, 'weight_hh_l0'))?.shape[1] ?? 0
  const shape = [directions * units, inputs]
  return itemOf({ name, kind: 'layer', shape, statistics: false, tensors: [] })
}

function stack(net: Net, into: Channels | undefined, module: string): Channels {
  let x = into
  const layers = count(net, (k) => tensor(module, `weight_ih_l${k}`))
  for (let k = 0; k < layers; k++) {
    const ends = net.has(tensor(module, `weight_ih_l${k}_reverse`)) ? [`l${k}`, `l${k}_reverse`] : [`l${k}`]
    x = concat(...ends.map((end) => direction(net, x, module, end)))
  }
  return x!
}

/** All gates of a layer share its units. With a projection, the layer gives and reads other units than it has inside. */
function direction(net: Net, x: Channels | undefined, module: string, end: string): Channels {
  const [rows, columns] = net.read(tensor(module, `weight_ih_${end}`), 2, [0, 1])
  const [hidden, back] = net.read(tensor(module, `weight_hh_${end}`), 2, [0, 1])
  const projection = tensor(module, `weight_hr_${end}`)
  const [out, units] = net.has(projection) ? net.read(projection, 2, [0, 1]) : [back!, back!]
  if (x) add(net, x, columns!, module)
  else net.fix(columns!, 'the inputs of the network keep their order')
  if (out !== back) add(net, out!, back!, module)
  const biases = ['ih', 'hh'].map((part) => tensor(module, `bias_${part}_${end}`)).filter(net.has)
  const gates = rows!.length / units!.length
  demand([1, 3, 4].includes(gates), `${module} has another number of gates`)
  for (const axis of [rows!, hidden!, ...biases.map((name) => net.read(name, 1, [0])[0]!)]) {
    demand(axis.length === gates * units!.length, `${module} has another number of gates`)
    tieGates(net, axis, units!, gates, module)
  }
  return out!
}
