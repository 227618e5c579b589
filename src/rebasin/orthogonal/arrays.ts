/** Orthogonal maps as plain arrays by name, and back. */

import type { Heads } from '../infer/transformers/index.js'
import type { TensorSource } from '../weights.js'
import { type LayerMaps, type OrthogonalMaps, orthogonalForm } from './form.js'
import type { HeadMap } from './heads.js'

type Arrays = Readonly<Record<string, Int32Array | Float32Array | Float64Array>>

const NORM = { model: 'norm of the model: ', onto: 'norm it is aligned onto: ' } as const

/** All that `mapsOf` needs besides the names and shapes of the model. */
export function arraysOf({ rotation, layers, norms }: OrthogonalMaps): Arrays {
  return Object.fromEntries([
    ['rotation', rotation],
    ...layers.flatMap((layer, index) => layerArrays(layer, index)),
    ...Object.entries(norms).flatMap(([name, { model, onto }]) => [
      [`${NORM.model}${name}`, model] as const,
      [`${NORM.onto}${name}`, onto] as const,
    ]),
  ])
}

function layerArrays({ feedForward, signs, heads }: LayerMaps, index: number): [string, Int32Array | Float64Array][] {
  const all = (part: 'value' | 'cos' | 'sin' | 'turn'): Float64Array =>
    Float64Array.from(heads.flatMap((head) => [...(head[part] ?? [])]))
  const turns = heads.some(({ turn }) => turn)
  return [
    [`layer ${index} feed-forward`, feedForward],
    ...(signs ? [[`layer ${index} signs`, signs] as [string, Int32Array]] : []),
    [`layer ${index} heads`, Int32Array.from(heads, ({ from }) => from)],
    [`layer ${index} queries`, Int32Array.from(heads.flatMap(({ queries }) => [...queries]))],
    [`layer ${index} value`, all('value')],
    [`layer ${index} cos`, all('cos')],
    [`layer ${index} sin`, all('sin')],
    ...(turns ? [[`layer ${index} turn`, all('turn')] as [string, Float64Array]] : []),
  ]
}

/** The maps of a model with these tensors. */
export function mapsOf(arrays: Arrays, model: Pick<TensorSource, 'tensors' | 'config'>): OrthogonalMaps {
  const layout = orthogonalForm(model)
  const layers: LayerMaps[] = []
  while (arrays[`layer ${layers.length} heads`]) layers.push(layerOf(arrays, layers.length, layout.shape))
  const rotation = arrays.rotation as Float64Array
  const norms = Object.fromEntries(
    Object.keys(arrays)
      .filter((key) => key.startsWith(NORM.model))
      .map((key) => {
        const name = key.slice(NORM.model.length)
        return [name, { model: arrays[key] as Float32Array, onto: arrays[`${NORM.onto}${name}`] as Float32Array }]
      }),
  )
  return { layout, rotation, layers, norms }
}

function layerOf(arrays: Arrays, index: number, shape: Heads | undefined): LayerMaps {
  const { kv, q, width } = shape ?? { kv: 0, q: 1, width: 1 }
  const part = (name: string) => arrays[`layer ${index} ${name}`]!
  const slice = <T extends Int32Array | Float64Array>(name: string, head: number, size: number): T =>
    part(name).slice(head * size, (head + 1) * size) as T
  const turns = arrays[`layer ${index} turn`] !== undefined
  // Pairs of places that rotate, of each head.
  const pairs = kv > 0 ? part('cos').length / kv : 0
  const heads = Array.from(
    { length: kv },
    (_, head): HeadMap => ({
      from: part('heads')[head]!,
      queries: slice('queries', head, q),
      value: slice('value', head, width * width),
      cos: slice('cos', head, pairs),
      sin: slice('sin', head, pairs),
      ...(turns ? { turn: slice('turn', head, width * width) } : {}),
    }),
  )
  const signs = arrays[`layer ${index} signs`] as Int32Array | undefined
  return { feedForward: part('feed-forward') as Int32Array, ...(signs ? { signs } : {}), heads }
}
