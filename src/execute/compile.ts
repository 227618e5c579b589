import { DTYPES, type Dtype, elements, isFloat, isWritable, type OutputDtype } from '../core/dtypes.js'
import { lookupMethod } from '../methods/registry.js'
import type { Method } from '../methods/types.js'
import type { Expr, MergeExpr, Plan, PlanTensor, ReadExpr } from '../plan/types.js'
import type { Leaf, Node, Pass, Program } from './program.js'

/** A program with what the scheduler needs besides: workers never see methods. */
export interface Job {
  readonly program: Program
  /** By merge index of the program's nodes. */
  readonly merges: readonly { readonly method: Method; readonly expr: MergeExpr; readonly reduces: readonly number[] }[]
  readonly shape: readonly number[]
  /** What it makes; absent for jobs that only digest. */
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
  const raw = expr.kind === 'read' && expr.dtype === dtype
  const leaves: Leaf[] = []
  const nodes: Node[] = []
  const passes: Pass[] = []
  const merges: { method: Method; expr: MergeExpr; reduces: number[] }[] = []
  /** By leaf, the first pass that reads it, settled when the passes are known. */
  const reads = new Map<number, ReadExpr>()

  function add(of: Expr): { node: number; below: readonly number[] } {
    if (of.kind === 'read') {
      if (!raw && !isFloat(of.dtype)) throw new Error(`internal: ${of.tensor} has dtype ${of.dtype} in a merge`)
      const leaf = leaves.length
      reads.set(leaf, of)
      leaves.push({
        file: of.file,
        offset: of.offset,
        bytes: of.bytes,
        dtype: raw || !isFloat(of.dtype) ? 'raw' : of.dtype,
        elementBytes: raw ? 1 : bytesOf(of.dtype),
        digestIn: -1,
      })
      nodes.push({ kind: 'read', leaf })
      return { node: nodes.length - 1, below: [leaf] }
    }
    const inputs = of.inputs.map(add)
    const base = of.base ? add(of.base) : undefined
    const method = lookupMethod(of.method)
    if (!method) throw new Error(`internal: method ${of.method} is not in the registry`)
    const merge = { method, expr: of, reduces: [] as number[] }
    const index = merges.push(merge) - 1
    nodes.push({
      kind: 'merge',
      kernel: method.map.kernel,
      inputs: inputs.map(({ node }) => node),
      base: base?.node ?? -1,
      merge: index,
    })
    const node = nodes.length - 1
    const below = [...inputs, ...(base ? [base] : [])].flatMap((input) => input.below)
    for (const { kernel } of method.reduces) {
      merge.reduces.push(passes.push({ kind: 'reduce', node, kernel }) - 1)
      assignDuty(below, passes.length - 1)
    }
    return { node, below }
  }

  function assignDuty(below: readonly number[], pass: number): void {
    if (!duty.enabled) return
    for (const leaf of below) {
      const key = leafKey(leaves[leaf]!)
      if (duty.taken.has(key)) continue
      duty.taken.add(key)
      leaves[leaf] = { ...leaves[leaf]!, digestIn: pass }
    }
  }

  const root = add(expr)
  passes.push({ kind: 'write' })
  assignDuty(root.below, passes.length - 1)
  if (!raw && !isWritable(dtype)) throw new Error(`internal: ${tensor.name} is to be written as ${dtype}`)
  const outputDtype: OutputDtype | 'raw' = raw || !isWritable(dtype) ? 'raw' : dtype
  const program: Program = {
    elements: raw ? tensor.bytes : elements(shape),
    compute: plan.compute === 'float64' ? 'f64' : 'f32',
    leaves,
    nodes,
    passes,
    output: {
      file: outputFile,
      offset,
      dtype: outputDtype,
      elementBytes: raw ? 1 : bytesOf(dtype),
      digest: duty.enabled,
    },
  }
  return { program, merges, shape, target }
}

/** A program that only digests bytes as they lie in a file. */
export function compileDigest(file: number, offset: number, bytes: number): Job {
  return {
    program: {
      elements: bytes,
      compute: 'f32',
      leaves: [{ file, offset, bytes, dtype: 'raw', elementBytes: 1, digestIn: 0 }],
      nodes: [{ kind: 'read', leaf: 0 }],
      passes: [{ kind: 'digest' }],
    },
    merges: [],
    shape: [bytes],
  }
}
