/** Nodes and passes of a program: an expression, from its leaves up. */
import { elements } from '../../core/dtypes.js'
import { coreWork, passesOf, settingsOf, shapeOf } from '../../expr/cost.js'
import type { CoreExpr, CropExpr, Expr, MergeExpr } from '../../expr/types.js'
import { changeInputs, cropReach, type Reach, reachKey, WHOLE } from '../../expr/walk.js'
import { corePlaces, type HeldWork } from '../../kernels/held/index.js'
import type { MapKernel } from '../../kernels/types.js'
import type { ReducePass } from '../../methods/types.js'
import { type Added, addLeaf, assignDuty, counted, type Draft, leavesBelow } from './draft.js'
import { addWork } from './heldWork.js'
import { addComputed, addConstant, addFactor, addLora, addStored, madeLeaf } from './leaves.js'

/**
 * Adds an expression, which is a part of a tensor of the shape `whole`. Equal requests for the same elements give one node.
 */
export function addExpr(draft: Draft, of: Expr, whole: readonly number[], reach: Reach): Added {
  const known = draft.nodeOf.get(of) ?? new Map<string, Added>()
  draft.nodeOf.set(of, known)
  const key = reachKey(reach)
  const added = known.get(key) ?? make(draft, of, whole, reach)
  known.set(key, added)
  return added
}

function make(draft: Draft, of: Expr, whole: readonly number[], reach: Reach): Added {
  switch (of.kind) {
    case 'read':
      return addStored(draft, of)
    case 'lora':
      return addLora(draft, of)
    case 'merge':
      return addRounded(draft, of, addMerge(draft, of, shapeOf(of, whole), reach))
    case 'crop':
      return addCrop(draft, of, reach)
    case 'constant':
      return addConstant(draft, of)
    case 'computed':
      return addComputed(draft, of)
    case 'factor':
      return addFactor(draft, of)
    case 'core':
      return addCore(draft, of)
  }
}

export const isByRows = ({ rows, combine }: Pick<ReducePass, 'rows' | 'combine'>): boolean =>
  rows === true || combine === 'rows'

function addMerge(draft: Draft, of: MergeExpr, shape: readonly number[], reach: Reach): Added {
  const { compute, nodes } = draft
  const { map, reduces, origin, held: work } = passesOf(of, settingsOf(of, draft.tensor, shape, draft.plan.seed))
  if (work) return addHeld(draft, of, { ...work, compute }, map.kernel, shape, reach)
  // Its passes go over all elements, even if fewer are needed here.
  if (reduces.length > 0 && reachKey(reach) !== reachKey(WHOLE)) addExpr(draft, of, shape, WHOLE)
  const inner = map.rows ? { ...reach, rows: reach.rows + 1 } : reach
  const all = [...of.inputs, ...(of.statistics ?? [])].map((input) => addExpr(draft, input, shape, inner))
  const base = origin === 'first' ? all[0] : of.base ? addExpr(draft, of.base, shape, inner) : undefined
  const inputs = origin === 'first' ? all.slice(1) : all
  const first = !draft.mergeOf.has(of)
  const merge = mergeIndex(draft, of, shape)
  const node =
    nodes.push({
      kind: 'merge',
      kernel: map.kernel,
      inputs: inputs.map(({ node }) => node),
      base: base?.node ?? -1,
      merge,
      rows: map.rows ?? false,
      scratch: map.scratch ?? 0,
      ...counted(draft, elements(shape)),
    }) - 1
  const below = leavesBelow([...inputs, ...(base ? [base] : [])])
  if (first) {
    if (map.rows || reduces.some(isByRows)) draft.rowLength = shape.at(-1) ?? 1
    addReduces(draft, reduces, merge, node, below)
  }
  return { node, below }
}

/** The method's declaration of a merge, shared by all nodes of the merge. */
function mergeIndex({ merges, mergeOf, plan, tensor, findings }: Draft, of: MergeExpr, shape: readonly number[]) {
  const known = mergeOf.get(of)
  if (known !== undefined) return known
  const settings = settingsOf(of, tensor, shape, plan.seed)
  const scope = of.scopeIndex === undefined ? [] : findings.scope(of.scopeIndex)
  const index = merges.push({ rule: { kind: 'method', method: of.method }, settings, own: [], scope }) - 1
  mergeOf.set(of, index)
  return index
}

/** The passes that a merge needs before it is made. */
function addReduces(
  draft: Draft,
  reduces: readonly ReducePass[],
  merge: number,
  node: number,
  below: readonly number[],
): void {
  for (const { kernel, slots, combine, skip, tile, rows = false } of reduces) {
    const pass = draft.passes.push({ kind: 'reduce', node, kernel, slots, combine, rows }) - 1
    draft.merges[merge]!.own.push(pass)
    // A pass that can be skipped, or that reads only one tile, cannot digest.
    if (!skip && !tile) assignDuty(draft, below, pass)
  }
}

function addRounded({ nodes }: Draft, { rounded }: MergeExpr, made: Added): Added {
  return rounded ? { ...made, node: nodes.push({ kind: 'round', of: made.node, dtype: rounded }) - 1 } : made
}

/** Work on whole matrices, its result as a leaf, and the map over the leaf. Separate passes fill the matrices once. */
function addHeld(
  draft: Draft,
  of: MergeExpr,
  work: HeldWork,
  kernel: MapKernel,
  shape: readonly number[],
  reach: Reach,
): Added {
  const inputs = [...of.inputs, ...(of.statistics ?? [])]
  const models = inputs.map((input) => addExpr(draft, input, shape, WHOLE))
  const base = of.base && addExpr(draft, of.base, shape, WHOLE)
  const merge = mergeIndex(draft, of, shape)
  const result = addLeaf(draft, of, () => ({
    ...madeLeaf(draft, shape),
    reader: { kind: 'held', address: addWork(draft, work, models, base) },
  }))
  const near = of.base && addExpr(draft, of.base, shape, reach)
  const read = draft.nodes.push({ kind: 'read', leaf: result }) - 1
  const made = { rows: false, scratch: 0, ...counted(draft, elements(shape)) }
  const operands = near ? [near.node, read] : [read]
  const node = draft.nodes.push({ kind: 'merge', kernel, inputs: operands, base: -1, merge, ...made }) - 1
  return { node, below: leavesBelow([...models, ...(base ? [base] : [])]) }
}

/** A low-rank change in the basis that it shares with others. One piece of work makes all of them. */
function addCore(draft: Draft, { of, part, shape }: CoreExpr): Added {
  const work = coreWork(of)
  const factors = changeInputs(of).map((one) => addExpr(draft, one.part, one.shape, WHOLE))
  const origin = draft.cores.get(of) ?? addWork(draft, work, factors, undefined)
  draft.cores.set(of, origin)
  const { cores, zero } = corePlaces(work)
  const address = origin + (part < 0 ? zero : cores[part]!)
  const leaf = draft.leaves.push({ ...madeLeaf(draft, shape, 'F64'), reader: { kind: 'held', address } }) - 1
  return { node: draft.nodes.push({ kind: 'read', leaf }) - 1, below: leavesBelow(factors) }
}

function addCrop(draft: Draft, { merge, base, shape }: CropExpr, reach: Reach): Added {
  const count = elements(shapeOf(merge, shape))
  const [first, rest] = cropReach(reach, count)
  const parts = [addExpr(draft, merge, shape, first), addExpr(draft, base, shape, rest)] as const
  const node = draft.nodes.push({ kind: 'join', first: parts[0].node, rest: parts[1].node, elements: count }) - 1
  return { node, below: leavesBelow(parts) }
}
