import type { Checkpoint, StoredTensor } from '../checkpoints/types.js'
import { naturalOrder } from '../core/collections/naturalOrder.js'
import { elements } from '../core/dtypes.js'
import { bytesOf, isFloat } from '../encodings/index.js'
import { smallKernels, treeDigest } from '../kernels/index.js'
import type { Job, JobMerge } from './compile/job.js'
import { refuseInterrupted } from './interrupted.js'
import { openPool } from './pools/threads.js'
import type { Leaf } from './program.js'
import { schedule } from './schedule/schedule.js'
import { windowMode } from './windowMode.js'

/** How one tensor differs between two models. Figures are absent if the tensors cannot be compared. */
export interface TensorDifference {
  readonly tensor: string
  readonly state: 'equal' | 'differs' | 'only-a' | 'only-b' | 'shape' | 'dtype'
  /** Cosine similarity of the tensors as vectors; absent if one of them is all 0. */
  readonly cosine?: number
  /** ‖a − b‖ / ‖b‖; if ‖b‖ is 0, it divides by ‖a‖. */
  readonly relativeL2?: number
  /** Largest |a − b|. */
  readonly largest?: number
}

/** How to compare two models. */
export interface DiffOptions {
  /** Default: 2. More threads rarely help, because the disk is the bottleneck. */
  readonly threads?: number
  readonly signal?: AbortSignal
  /** Compares only tensors with these names. Default: all. */
  readonly filter?: (name: string) => boolean
}

/** Compares two models tensor by tensor, in natural order of names, in float64. Reads both models once. Error: `interrupted`. */
export async function diffCheckpoints(
  a: Checkpoint,
  b: Checkpoint,
  { threads = 2, signal, filter = () => true }: DiffOptions = {},
): Promise<TensorDifference[]> {
  const names = [...new Set([...a.stored.keys(), ...b.stored.keys()])].filter(filter).sort(naturalOrder)
  const pairs = names.flatMap((name) => {
    const [one, other] = [a.stored.get(name), b.stored.get(name)]
    return one && other && sameShape(one, other) && comparable(one, other) ? [{ name, one, other }] : []
  })
  const kernels = await smallKernels()
  const found = new Map<string, TensorDifference>()
  const pool = await openPool({
    threads,
    mode: windowMode(),
    inputs: [...a.files, ...b.files],
    outputs: [],
    leaves: 2,
    reach: 0,
  })
  try {
    await schedule(
      pairs.map(({ one, other }) => compareJob(one, { ...other, file: a.files.length + other.file })),
      pool,
      {
        math: kernels.math,
        ...(signal ? { signal } : {}),
        progress: () => {},
        finished(index, { leaves, results }) {
          const { name, one, other } = pairs[index]!
          const equal =
            one.dtype === other.dtype &&
            treeDigest(kernels, leaves.get(0)!, one.bytes) === treeDigest(kernels, leaves.get(1)!, other.bytes)
          const state = equal ? 'equal' : one.dtype === other.dtype ? 'differs' : 'dtype'
          found.set(name, { tensor: name, state, ...(results[0]?.length ? figures(results[0]) : {}) })
        },
      },
    )
  } finally {
    await pool.close()
  }
  refuseInterrupted(signal)
  return names.map((tensor) => {
    const known = found.get(tensor)
    if (known) return known
    const [one, other] = [a.stored.get(tensor), b.stored.get(tensor)]
    return { tensor, state: !other ? 'only-a' : !one ? 'only-b' : sameShape(one, other) ? 'dtype' : 'shape' }
  })
}

const sameShape = (one: StoredTensor, other: StoredTensor) =>
  one.shape.length === other.shape.length && one.shape.every((size, axis) => size === other.shape[axis])

/** Tensors of one dtype are compared by bytes. Tensors of two dtypes must both be floating-point. */
const comparable = (one: StoredTensor, other: StoredTensor) =>
  one.dtype === other.dtype || (isFloat(one.dtype) && isFloat(other.dtype))

/** The only merge of a program that compares. Only its reduce pass runs. */
const COMPARE: JobMerge = {
  settings: { tensor: '', shape: [], models: [], weights: [], parameters: {}, seed: 0, onBase: false },
  rule: { kind: 'plain', reduces: [{ kernel: 'compare', slots: 5, combine: 'sums', maxima: 1 }] },
  own: [0],
  scope: [],
}

const RAW = { dtype: 'raw', elementBytes: 1 } as const

function compareJob(one: StoredTensor, other: StoredTensor): Job {
  const leaf = ({ file, offset, bytes, dtype }: StoredTensor): Leaf => {
    const element = isFloat(dtype) ? { dtype, elementBytes: bytesOf(dtype) } : RAW
    return { reader: { kind: 'contiguous', file, offset, bytes }, ...element, digestIn: 0 }
  }
  const float = isFloat(one.dtype) && isFloat(other.dtype)
  return {
    program: {
      elements: float ? elements(one.shape) : one.bytes,
      compute: 'f64',
      rowLength: 0,
      leaves: [leaf(one), leaf(other)],
      nodes: [
        { kind: 'read', leaf: 0 },
        { kind: 'read', leaf: 1 },
        ...(float
          ? [{ kind: 'merge', kernel: 'linear', inputs: [0, 1], base: -1, merge: 0, rows: false, scratch: 0 } as const]
          : []),
      ],
      passes: [
        float
          ? { kind: 'reduce', node: 2, kernel: 'compare', slots: 5, combine: 'sums', rows: false }
          : { kind: 'digest' },
      ],
    },
    merges: [COMPARE],
  }
}

function figures([aa, bb, ab, squares, largest]: Float64Array): Partial<TensorDifference> {
  const norm = Math.sqrt(bb! > 0 ? bb! : aa!)
  const product = Math.sqrt(aa!) * Math.sqrt(bb!)
  return {
    // Rounding can make the quotient slightly larger than 1.
    ...(product > 0 ? { cosine: Math.max(-1, Math.min(1, ab! / product)) } : {}),
    relativeL2: norm > 0 ? Math.sqrt(squares!) / norm : 0,
    largest: largest!,
  }
}
