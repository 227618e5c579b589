import type { Expr, LowRank } from '../../expr/types.js'
import type { Compute } from '../../kernels/types.js'
import type { Plan } from '../../plan/types.js'
import type { Findings } from '../findings.js'
import { type Held, type Leaf, type LoraNode, type Node, type Pass, type Program, passElements } from '../program.js'
import type { ComputedLeaf, DigestDuty, JobMerge } from './job.js'

/** The settings of a program to compile. */
export interface Subject {
  readonly plan: Pick<Plan, 'compute' | 'seed' | 'factorings'>
  /** The tensor's name, from which methods derive random numbers. */
  readonly tensor: string
  readonly findings: Findings
  readonly duty: DigestDuty
  readonly compute: Compute
  /** Bytes are copied or digested unchanged: an element is a byte. */
  readonly raw: boolean
  /** Elements of the result. */
  readonly total: number
}

/** A program during compilation. */
export interface Draft extends Subject {
  readonly leaves: Leaf[]
  readonly nodes: Node[]
  readonly passes: Pass[]
  readonly merges: (JobMerge & { own: number[] })[]
  readonly held: Held[]
  heldBytes: number
  /** By low-rank changes whose cores are made: the address of that work. */
  readonly cores: Map<LowRank, number>
  /** The row length of merges that work by rows; all have the same. */
  rowLength: number
  /** Leaves whose values are computed before the program runs. */
  readonly computed: ComputedLeaf[]
  /** Expressions that several steps share are read and computed once: leaves by expression, nodes also by their number of elements. */
  readonly leafOf: Map<Expr, number>
  readonly factorsOf: Map<Expr, Pick<LoraNode, 'columns' | 'height' | 'left' | 'right'>>
  readonly mergeOf: Map<Expr, number>
  readonly nodeOf: Map<Expr, Map<string, Added>>
}

/** A node, and the leaves below it, each once. */
export interface Added {
  readonly node: number
  readonly below: readonly number[]
}

export const newDraft = (subject: Subject): Draft => ({
  ...subject,
  leaves: [],
  nodes: [],
  passes: [],
  merges: [],
  held: [],
  heldBytes: 0,
  cores: new Map(),
  rowLength: 0,
  computed: [],
  leafOf: new Map(),
  factorsOf: new Map(),
  mergeOf: new Map(),
  nodeOf: new Map(),
})

export const leavesBelow = (inputs: readonly Added[]): number[] => [...new Set(inputs.flatMap(({ below }) => below))]

/** The number of elements, if it differs from the program's. */
export const counted = ({ total }: Draft, count: number): { elements?: number } =>
  count === total ? {} : { elements: count }

export function addRead({ nodes }: Draft, leaf: number, below: readonly number[]): Added {
  return { node: nodes.push({ kind: 'read', leaf }) - 1, below }
}

/** The leaf of an expression. Calls `make` for its first use. */
export function addLeaf({ leaves, leafOf }: Draft, of: Expr, make: () => Leaf): number {
  const known = leafOf.get(of) ?? leaves.push(make()) - 1
  leafOf.set(of, known)
  return known
}

/** Lets a pass digest the leaves that it reads completely and that no other program digests. */
export function assignDuty(draft: Draft, below: readonly number[], pass: number): void {
  const { duty, passes, nodes, total, leaves } = draft
  if (!duty.enabled) return
  const read = passElements(passes[pass]!, nodes, total)
  for (const index of below) {
    const leaf = leaves[index]!
    if (leaf.reader.kind !== 'contiguous') continue
    // If a tensor has more elements than are merged, the pass sees only a part of it.
    if ((leaf.elements ?? total) !== read || !duty.takePlace(leaf.reader)) continue
    leaves[index] = { ...leaf, digestIn: pass }
  }
}

/** The finished program. `output`: where its result is written, if anywhere. */
export function programOf(draft: Draft, output?: NonNullable<Program['output']>): Program {
  const { total, compute, rowLength, leaves, nodes, passes, held, heldBytes } = draft
  return {
    elements: total,
    ...{ compute, rowLength, leaves, nodes, passes },
    ...(held.length > 0 ? { held: { works: held, bytes: heldBytes } } : {}),
    ...(output ? { output } : {}),
  }
}
