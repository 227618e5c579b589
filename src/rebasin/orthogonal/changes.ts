/** Orthogonal maps as changes of single tensors. */
import type { OrthogonalMaps } from './form.js'
import { layerChanges } from './heads.js'
import type { Matrix } from './layout.js'
import type { AxisChange, AxisProduct, Block } from './products.js'

/** The changes that make a tensor of the aligned model from the model's own, in the order they are applied. */
export function orthogonalChanges(maps: OrthogonalMaps, name: string, shape: readonly number[]): AxisChange[] {
  const { layout, norms } = maps
  const { basis } = layout
  const part = layout.parts.get(name)
  switch (part?.kind) {
    case 'matrix': {
      const [first] = part.matrices as [Matrix]
      return [...unitChanges(maps, part.matrices, first.stream === 0 ? 1 : 0), ...streamChanges(maps, first)]
    }
    case 'bias': {
      const [first] = part.matrices as [Matrix]
      return first.writes ? streamChanges(maps, first, 0) : unitChanges(maps, part.matrices, 0)
    }
    case 'vector':
      return ordered(maps, 0)
    case 'square':
      return [...ordered(maps, 0), ...ordered(maps, 1)]
    case 'norm':
    case 'factor': {
      if (basis !== 'rotated') return ordered(maps, 0)
      const { model, onto } = norms[name]!
      // The aligned model has the norms of the model it is aligned onto: value · (onto / value), exact but for rounding, except at zero.
      return [
        {
          axis: 0,
          blocks: [{ from: 0, size: shape[0]! }],
          before: Float64Array.from(model, (x) => (x === 0 ? 0 : 1 / x)),
          after: Float64Array.from(onto),
        },
      ]
    }
    default:
      return []
  }
}

/** Of the axis that is not the stream's. A tensor can have the matrices of queries, keys and values one after another. */
function unitChanges({ layout, layers }: OrthogonalMaps, matrices: readonly Matrix[], axis: number): AxisChange[] {
  const all = matrices.map(({ place }) =>
    place ? layerChanges(layers[place.layer]!, layout.shape)[place.key].map((change) => ({ ...change, axis })) : [],
  )
  if (all.length === 1) return all[0]!
  const products = all.flatMap((changes, i) =>
    (changes as AxisProduct[]).map(({ blocks }) =>
      blocks.map((block): Block => ({ ...block, from: matrices[i]!.from + block.from })),
    ),
  )
  return products.length === 0 ? [] : [{ axis, blocks: products.flat() }]
}

/** Of the stream's axis: readers read through their norm, writers write through their factor. */
function streamChanges(maps: OrthogonalMaps, matrix: Matrix, axis = matrix.stream): AxisChange[] {
  const { layout, norms } = maps
  if (layout.basis !== 'rotated') return ordered(maps, axis)
  const weight = matrix.norm === undefined ? undefined : layout.norms.get(matrix.norm)?.weight
  const scale = matrix.writes ? matrix.factor : weight
  const found = scale === undefined ? undefined : norms[scale]
  const { turned, added } = turnedOf(maps)
  return [
    {
      axis,
      blocks: [{ from: 0, size: layout.hidden, matrix: matrix.writes ? added : turned }],
      ...(found ? { before: Float64Array.from(found.model), after: Float64Array.from(found.onto, (x) => 1 / x) } : {}),
    },
  ]
}

/** The same places in another order. */
function ordered(maps: OrthogonalMaps, axis: number): AxisChange[] {
  return maps.layout.basis === 'permuted' ? [{ axis, map: turnedOf(maps).order }] : []
}

interface Turned {
  /** hidden × hidden: a stream vector x of the model is turned · x in the aligned one. */
  readonly turned: Float64Array
  /** The same for what is added to the stream: LayerNorm subtracts the mean, so nothing of it is added. */
  readonly added: Float64Array
  /** Of a permutation: place i takes the model's place order[i]. */
  readonly order: Int32Array
}

const known = new WeakMap<Float64Array, Turned>()

export function turnedOf({ rotation, layout: { hidden, kind, basis } }: OrthogonalMaps): Turned {
  const before = known.get(rotation)
  if (before) return before
  const turned = transposed(rotation, hidden)
  const found = {
    turned,
    added: kind === 'layer' ? turned.map((value) => value - 1 / hidden) : turned,
    order: basis === 'permuted' ? orderOf(turned, hidden) : new Int32Array(),
  }
  known.set(rotation, found)
  return found
}

const orderOf = (turned: Float64Array, n: number): Int32Array =>
  Int32Array.from({ length: n }, (_, i) => turned.subarray(i * n, (i + 1) * n).indexOf(1))

function transposed(matrix: Float64Array, n: number): Float64Array {
  const out = new Float64Array(n * n)
  for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) out[j * n + i] = matrix[i * n + j]!
  return out
}
