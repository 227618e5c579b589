import type { Checkpoint } from '../../checkpoints/types.js'
import { naturalOrder } from '../../core/collections/naturalOrder.js'
import { type Dtype, elements } from '../../core/dtypes.js'
import { bytesOf, isFloat } from '../../encodings/index.js'
import { smallKernels, treeDigest } from '../../kernels/index.js'
import { lower } from '../../views/lower.js'
import { storedBytes } from '../../views/ranges.js'
import { isDecoded, isPlain, mapStored } from '../../views/stored.js'
import { byteProgress } from '../byteProgress.js'
import type { Job, JobMerge } from '../compile/job.js'
import type { Listener } from '../events.js'
import { refuseInterrupted } from '../interrupted.js'
import { openPool } from '../pools/threads.js'
import type { Leaf } from '../program.js'
import { schedule } from '../schedule/schedule.js'
import { windowMode } from '../windowMode.js'
import { type Compared, differenceOf, type ModelDifference, sumsOf } from './figures.js'

/** How to compare two models. */
export interface DiffOptions {
  /** Default: 2. More threads rarely help, because the disk is the bottleneck. */
  readonly threads?: number
  /** Called with the progress, as events. */
  readonly listen?: Listener
  /** Ends the work early. The promise then rejects with the error `interrupted`. */
  readonly signal?: AbortSignal
  /** Compares only tensors with these names. Default: all. */
  readonly filter?: (name: string) => boolean
}

/**
 * Compares two models, tensors in natural order of names, in float64. Quantized weights are compared as numbers. Reads both
 * models once. Errors: `interrupted`, `damaged-weights`.
 */
export async function diffCheckpoints(
  a: Checkpoint,
  b: Checkpoint,
  { threads = 2, listen, signal, filter = () => true }: DiffOptions = {},
): Promise<ModelDifference> {
  const names = [...new Set([...a.tensors.keys(), ...b.tensors.keys()])].filter(filter).sort(naturalOrder)
  const sides = (name: string) => [sideOf(a, name, 0), sideOf(b, name, a.files.length)] as const
  const pairs = names.flatMap((name) => {
    const [one, other] = sides(name)
    return one && other && sameShape(one, other) && comparable(one, other) ? [{ name, one, other }] : []
  })
  const kernels = await smallKernels()
  const found = new Map<string, Compared>()
  const total = pairs.reduce((sum, { one, other }) => sum + one.bytes + other.bytes, 0)
  const done = byteProgress(listen, 'diff', total)
  const underWay = new WeakMap<Job, string>()
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
      pairs.map(({ name, one, other }) => {
        const job = compareJob(one, other)
        underWay.set(job, name)
        return job
      }),
      pool,
      {
        math: kernels.math,
        ...(signal ? { signal } : {}),
        progress: (read, _, job) => done.add(read, `comparing ${underWay.get(job)}`),
        finished(index, { leaves, results }) {
          const { name, one, other } = pairs[index]!
          const digest = (leaf: 0 | 1, { bytes }: Side): string => treeDigest(kernels, leaves.get(leaf)!, bytes)
          const equal =
            one.dtype === other.dtype &&
            (one.computed || other.computed ? isZero(results[0]!) : digest(0, one) === digest(1, other))
          const state = equal ? 'equal' : one.dtype === other.dtype ? 'differs' : 'dtype'
          found.set(name, { tensor: name, state, ...(results[0]?.length ? { sums: sumsOf(results[0]) } : {}) })
        },
      },
    )
  } finally {
    await pool.close()
  }
  refuseInterrupted(signal)
  done.end('compared all tensors')
  const compared = names.map((tensor): Compared => {
    const known = found.get(tensor)
    if (known) return known
    const [one, other] = sides(tensor)
    return { tensor, state: !other ? 'only-a' : !one ? 'only-b' : sameShape(one, other) ? 'dtype' : 'shape' }
  })
  return differenceOf(compared)
}

/** A tensor of one of the models. */
interface Side {
  readonly dtype: Dtype
  readonly shape: readonly number[]
  /** Bytes that are read. */
  readonly bytes: number
  readonly leaf: Omit<Leaf, 'digestIn'>
  /** Its numbers are computed from codes, so that its bytes say nothing. */
  readonly computed: boolean
}

const RAW = { dtype: 'raw', elementBytes: 1 } as const

/** `firstFile`: the index of the model's first file among those of both. */
function sideOf({ tensors }: Checkpoint, name: string, firstFile: number): Side | undefined {
  const tensor = tensors.get(name)
  if (!tensor) return undefined
  const { dtype, shape } = tensor
  const view = mapStored(tensor.view, (part) => ({ ...part, file: firstFile + part.file }))
  if (isPlain(view)) {
    const { file, offset, bytes } = view
    const element = isFloat(dtype) ? { dtype, elementBytes: bytesOf(dtype) } : RAW
    const leaf = { reader: { kind: 'contiguous', file, offset, bytes }, ...element } as const
    return { dtype, shape, bytes, leaf, computed: false }
  }
  const computed = isDecoded(view)
  const bytes = computed ? storedBytes(view) : bytesOf(dtype, elements(shape))
  const leaf = lower(view, { raw: !isFloat(dtype), mixed: 'F32', maps: () => [] })
  return { dtype, shape, bytes, leaf, computed }
}

/** Whether all differences are 0, from the sums of their squares and the largest. */
const isZero = (sums: Float64Array): boolean => sums[3] === 0 && sums[4] === 0

const sameShape = (one: Side, other: Side) =>
  one.shape.length === other.shape.length && one.shape.every((size, axis) => size === other.shape[axis])

/** Tensors of one dtype are compared by bytes. Tensors of two dtypes must both be floating-point. */
const comparable = (one: Side, other: Side) => one.dtype === other.dtype || (isFloat(one.dtype) && isFloat(other.dtype))

/** The only merge of a program that compares. Only its reduce pass runs. */
const COMPARE: JobMerge = {
  settings: { tensor: '', shape: [], models: [], weights: [], parameters: {}, seed: 0, onBase: false },
  rule: { kind: 'plain', reduces: [{ kernel: 'compare', slots: 5, combine: 'sums', maxima: 1 }] },
  own: [0],
  scope: [],
}

function compareJob(one: Side, other: Side): Job {
  const leaf = ({ leaf, computed }: Side): Leaf => ({ ...leaf, digestIn: computed ? -1 : 0 })
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
