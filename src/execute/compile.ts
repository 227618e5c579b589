import { DTYPES, type Dtype, elements, isFloat, isWritable } from '../core/dtypes.js'
import type { Passes, TensorSettings } from '../methods/types.js'
import { passesOf, settingsOf } from '../plan/cost.js'
import type { Expr, MergeExpr, Plan, PlanTensor, ReadExpr } from '../plan/types.js'
import type { Leaf, Node, Pass, Program } from './program.js'

/** A program with what the scheduler needs besides: workers never see methods. */
export interface Job {
  readonly program: Program
  /** By merge index of the program's nodes: what its method says, and which of the program's passes are its own. */
  readonly merges: readonly {
    readonly settings: TensorSettings
    readonly passes: Passes
    readonly own: readonly number[]
  }[]
  /** What it makes; absent for jobs that only digest or compare. */
  readonly target?: { readonly output: number; readonly tensor: number }
}

const bytesOf = (dtype: Dtype) => DTYPES[dtype].bits / 8

/** Hands out the duty to digest a stored tensor: the first program that reads it has it. */
export interface DigestDuty {
  readonly enabled: boolean
  readonly taken: Set<string>
}

export const leafKey = ({ file, offset, bytes }: { file: number; offset: number; bytes: number }): string =>
  `${file}:${offset}:${bytes}`

/** The program of one output tensor. `outputFile` is its index among all files that the run writes. */
export function compileTensor(
  plan: Plan,
  tensor: PlanTensor,
  outputFile: number,
  duty: DigestDuty,
  target: NonNullable<Job['target']>,
): Job {
  const { expr, dtype, shape, offset } = tensor
  // Bytes that stay what they are need no decoding, whatever they mean.
  const raw = expr.kind === 'read' && expr.dtype === dtype
  if (!raw && !isWritable(dtype)) throw new Error(`internal: ${tensor.name} is to be written as ${dtype}`)
  const leaves: Leaf[] = []
  const nodes: Node[] = []
  const passes: Pass[] = []
  const merges: { settings: TensorSettings; passes: Passes; own: number[] }[] = []

  function addLeaf(of: ReadExpr): { node: number; below: readonly number[] } {
    const { file, offset, bytes } = of
    if (!raw && !isFloat(of.dtype)) throw new Error(`internal: ${of.tensor} has dtype ${of.dtype} in a merge`)
    const float = !raw && isFloat(of.dtype) ? of.dtype : undefined
    const stored = { dtype: float ?? ('raw' as const), elementBytes: float ? bytesOf(float) : 1 }
    const view = of.view && { view: float ? of.view : bytewise(of.view, bytesOf(of.dtype)) }
    const leaf = leaves.push({ file, offset, bytes, ...stored, ...view, digestIn: -1 }) - 1
    return { node: nodes.push({ kind: 'read', leaf }) - 1, below: [leaf] }
  }

  function addMerge(of: MergeExpr): { node: number; below: readonly number[] } {
    const inputs = of.inputs.map(add)
    const base = of.base ? add(of.base) : undefined
    const settings = settingsOf(of, tensor.name, shape, plan.seed)
    const merge = { settings, passes: passesOf(of, settings), own: [] as number[] }
    const { map, reduces } = merge.passes
    const index = merges.push(merge) - 1
    const node =
      nodes.push({
        kind: 'merge',
        kernel: map.kernel,
        inputs: inputs.map(({ node }) => node),
        base: base?.node ?? -1,
        merge: index,
        rows: map.rows ?? false,
      }) - 1
    const below = [...inputs, ...(base ? [base] : [])].flatMap((input) => input.below)
    for (const { kernel, slots, combine, skip, tile } of reduces) {
      merge.own.push(passes.push({ kind: 'reduce', node, kernel, slots, combine }) - 1)
      // A pass that may be skipped, or reads one tile only, can't be trusted with digests.
      if (!skip && !tile) assignDuty(below, passes.length - 1)
    }
    return { node, below }
  }

  const add = (of: Expr) => (of.kind === 'read' ? addLeaf(of) : addMerge(of))

  function assignDuty(below: readonly number[], pass: number): void {
    if (!duty.enabled) return
    for (const leaf of below) {
      const key = leafKey(leaves[leaf]!)
      // A view's bytes are digested as they lie in the file, not in the order of its elements.
      if (leaves[leaf]!.view || duty.taken.has(key)) continue
      duty.taken.add(key)
      leaves[leaf] = { ...leaves[leaf]!, digestIn: pass }
    }
  }

  const root = add(expr)
  passes.push({ kind: 'write' })
  assignDuty(root.below, passes.length - 1)
  const byRows = nodes.some((node) => node.kind === 'merge' && node.rows) || passes.some(isByRows)
  const program: Program = {
    elements: raw ? tensor.bytes : elements(shape),
    compute: plan.compute === 'float64' ? 'f64' : 'f32',
    rowLength: byRows ? (shape.at(-1) ?? 1) : 0,
    leaves,
    nodes,
    passes,
    output: {
      file: outputFile,
      offset,
      ...(raw || !isWritable(dtype) ? { dtype: 'raw', elementBytes: 1 } : { dtype, elementBytes: bytesOf(dtype) }),
      digest: duty.enabled,
    },
  }
  return { program, merges, target }
}

/** A view whose elements are single bytes. */
const bytewise = ({ shape, strides }: NonNullable<ReadExpr['view']>, bytes: number): NonNullable<Leaf['view']> => ({
  shape: [...shape, bytes],
  strides: [...strides.map((stride) => stride * bytes), 1],
})

const isByRows = (pass: Pass): boolean => pass.kind === 'reduce' && pass.combine === 'rows'

/** A program that only digests bytes as they lie in a file. */
export function compileDigest(file: number, offset: number, bytes: number): Job {
  return {
    program: {
      elements: bytes,
      compute: 'f32',
      rowLength: 0,
      leaves: [{ file, offset, bytes, dtype: 'raw', elementBytes: 1, digestIn: 0 }],
      nodes: [{ kind: 'read', leaf: 0 }],
      passes: [{ kind: 'digest' }],
    },
    merges: [],
  }
}
