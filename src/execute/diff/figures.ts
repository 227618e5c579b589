/** The figures of a comparison: of each tensor, each layer, and the whole models. */
import { stacksOf } from '../../networks/layerNames.js'

/** How far two vectors are apart. Absent if there is nothing to compare. */
export interface Distance {
  /** Cosine similarity; absent if one of the vectors is all 0. */
  readonly cosine?: number
  /** ‖a − b‖. */
  readonly l2?: number
  /** ‖a − b‖ / ‖b‖; if ‖b‖ is 0, it divides by ‖a‖. */
  readonly relativeL2?: number
  /** Largest |a − b|. */
  readonly largest?: number
}

/** How one tensor differs between two models. */
export interface TensorDifference extends Distance {
  /** The stored name. */
  readonly tensor: string
  /** Whether both have it, with the same shape, dtype and values. */
  readonly state: 'equal' | 'differs' | 'only-a' | 'only-b' | 'shape' | 'dtype'
}

/** How many tensors there are, by state. The distance is of all tensors that both models have, as one vector. */
export interface OverallDifference extends Distance {
  readonly tensors: number
  readonly states: Readonly<Record<TensorDifference['state'], number>>
}

/** The tensors of one layer. */
export interface LayerDifference extends OverallDifference {
  /** The prefix of its stack, such as `model.layers`. Absent for tensors outside of stacks. */
  readonly stack?: string
  readonly layer?: number
}

/** Layouts that differ, where one model can't be read as the other is stored. */
export interface NotRead {
  /** Of the second model: `mixtral/released`. */
  readonly layout: string
  /** Of the first model. */
  readonly as: string
  /** What is missing. */
  readonly why: string
}

/** How two models differ. */
export interface ModelDifference {
  /** Of all tensors that both models have, as one vector. */
  readonly overall: OverallDifference
  /** By stack and layer, then the tensors outside of stacks. Empty for models without layers. */
  readonly layers: readonly LayerDifference[]
  /** In natural order of names. */
  readonly tensors: readonly TensorDifference[]
  /** The layouts that the second model is read as, if it has other ones than the first. */
  readonly readAs?: readonly string[]
  /** The layouts of the second model that it is not read as, or not as a whole. Its other tensors are compared as they are stored. */
  readonly notRead?: readonly NotRead[]
}

/** Sums over the elements of a tensor. Sums of several tensors are those of all their elements. */
interface Sums {
  readonly aa: number
  readonly bb: number
  readonly ab: number
  readonly squares: number
  readonly largest: number
}

export interface Compared extends Pick<TensorDifference, 'tensor' | 'state'> {
  readonly sums?: Sums
}

/** As the kernel gives them. */
export const sumsOf = ([aa, bb, ab, squares, largest]: Float64Array): Sums => ({
  aa: aa!,
  bb: bb!,
  ab: ab!,
  squares: squares!,
  largest: largest!,
})

function distance(all: readonly Compared[]): Distance {
  const known = all.flatMap(({ sums }) => (sums ? [sums] : []))
  if (known.length === 0) return {}
  const sum = (of: (sums: Sums) => number) => known.reduce((total, sums) => total + of(sums), 0)
  const [aa, bb, ab, squares] = [
    sum((one) => one.aa),
    sum((one) => one.bb),
    sum((one) => one.ab),
    sum((one) => one.squares),
  ]
  const norm = Math.sqrt(bb > 0 ? bb : aa)
  const product = Math.sqrt(aa) * Math.sqrt(bb)
  return {
    // Rounding can make the quotient slightly larger than 1.
    ...(product > 0 ? { cosine: Math.max(-1, Math.min(1, ab / product)) } : {}),
    l2: Math.sqrt(squares),
    relativeL2: norm > 0 ? Math.sqrt(squares) / norm : 0,
    largest: known.reduce((most, { largest }) => (most > largest || Number.isNaN(most) ? most : largest), 0),
  }
}

function overall(all: readonly Compared[]): OverallDifference {
  const states = { equal: 0, differs: 0, 'only-a': 0, 'only-b': 0, shape: 0, dtype: 0 }
  for (const { state } of all) states[state]++
  return { tensors: all.length, states, ...distance(all) }
}

/** All figures, from tensors in natural order of names. */
export function differenceOf(compared: readonly Compared[]): ModelDifference {
  const stacks = stacksOf(compared.map(({ tensor }) => tensor))
  const outside: Compared[] = []
  const layers = new Map<string, { stack: string; layer: number; all: Compared[] }>()
  for (const one of compared) {
    const at = stacks.of(one.tensor)
    if (!at) {
      outside.push(one)
      continue
    }
    const key = `${at.layer} ${at.stack.prefix}`
    const entry = layers.get(key) ?? { stack: at.stack.prefix, layer: at.layer, all: [] }
    entry.all.push(one)
    layers.set(key, entry)
  }
  const inOrder = [...layers.values()].sort((a, b) =>
    a.stack === b.stack ? a.layer - b.layer : a.stack < b.stack ? -1 : 1,
  )
  return {
    overall: overall(compared),
    layers: [
      ...inOrder.map(({ all, ...at }) => ({ ...at, ...overall(all) })),
      ...(inOrder.length > 0 && outside.length > 0 ? [overall(outside)] : []),
    ],
    tensors: compared.map((one) => ({ tensor: one.tensor, state: one.state, ...distance([one]) })),
  }
}
