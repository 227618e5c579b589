/** What is known about a program before it runs: which leaves a pass needs, and which values need no decoding. */
import type { FloatDtype } from '../../core/dtypes.js'
import { type ChunkKernel, type Kernels, MIXED_INPUTS } from '../../kernels/types.js'
import type { Program } from '../program.js'

/** Leaves that a pass reads: below the node it is about, and those it has to digest. */
export function activeLeaves(program: Program, passIndex: number): number[] {
  const pass = program.passes[passIndex]!
  const active = new Set<number>()
  const seen = new Set<number>()
  const visit = (index: number): void => {
    if (seen.has(index)) return
    seen.add(index)
    const node = program.nodes[index]!
    if (node.kind === 'read') active.add(node.leaf)
    else if (node.kind === 'lora') node.base >= 0 && active.add(node.base)
    else if (node.kind === 'round') visit(node.of)
    else if (node.kind === 'join') for (const part of [node.first, node.rest]) visit(part)
    else for (const input of node.base < 0 ? node.inputs : [...node.inputs, node.base]) visit(input)
  }
  if (pass.kind === 'reduce') visit(pass.node)
  if (pass.kind === 'fill')
    for (const node of [...pass.terms.map(({ node }) => node), pass.base]) if (node >= 0) visit(node)
  if (pass.kind === 'write') visit(program.nodes.length - 1)
  for (const [index, leaf] of program.leaves.entries()) if (leaf.digestIn === passIndex) active.add(index)
  return [...active].sort((a, b) => a - b)
}

/** The dtype that all direct inputs of a merge are stored in, where they are stored tensors of one dtype. */
export function storedDtype(program: Program, index: number): FloatDtype | undefined {
  const node = program.nodes[index]!
  if (node.kind !== 'merge') return undefined
  const dtypes = (node.base < 0 ? node.inputs : [...node.inputs, node.base]).map((input) => {
    const below = program.nodes[input]!
    return below.kind === 'read' ? program.leaves[below.leaf]!.dtype : 'raw'
  })
  const [first] = dtypes
  return first !== undefined && first !== 'raw' && dtypes.every((dtype) => dtype === first) ? first : undefined
}

/** The kernel that does a whole tile without decoding, where inputs and output share a dtype that has one. */
export function fusedMap(program: Program, root: number, kernels: Kernels): ChunkKernel | undefined {
  const node = program.nodes[root]!
  const dtype = storedDtype(program, root)
  if (node.kind !== 'merge' || node.rows || dtype === undefined || dtype !== program.output?.dtype) return undefined
  return kernels.fused(node.kernel, dtype, program.compute)
}

/**
 * The kernel that takes operands in the output's dtype or in float32 as they are, where all that are read are in one of
 * them.
 */
export function mixedMap(
  { nodes, leaves, output, compute }: Program,
  root: number,
  kernels: Kernels,
): ChunkKernel | undefined {
  const node = nodes[root]!
  if (node.kind !== 'merge' || node.rows || !output || output.dtype === 'raw') return undefined
  const operands = node.base < 0 ? node.inputs : [...node.inputs, node.base]
  const fits = operands.every((index) => {
    const below = nodes[index]!
    return below.kind !== 'read' || [output.dtype, 'F32'].includes(leaves[below.leaf]!.dtype)
  })
  return fits && node.inputs.length <= MIXED_INPUTS ? kernels.mixed(node.kernel, output.dtype, compute) : undefined
}

/** If the program ends in a join whose rest is stored in the output's dtype: the bytes of the rest are copied. */
export function keptTail({
  nodes,
  leaves,
  output,
}: Program): { readonly leaf: number; readonly from: number } | undefined {
  const root = nodes.at(-1)!
  const rest = root.kind === 'join' ? nodes[root.rest]! : undefined
  if (root.kind !== 'join' || rest?.kind !== 'read' || leaves[rest.leaf]!.dtype !== output?.dtype) return undefined
  return { leaf: rest.leaf, from: root.elements }
}
