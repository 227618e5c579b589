import { elements, isFloat, isWritable } from '../../core/dtypes.js'
import { computeOf, passesOf, plainOf, settingsOf, shapeOf } from '../../expr/cost.js'
import type { ComputedExpr, CropExpr, Expr, FactorExpr, LoraExpr, MergeExpr, ReadExpr } from '../../expr/types.js'
import { cropReach, type Reach, reachKey, WHOLE } from '../../expr/walk.js'
import { TEAM_BYTES } from '../../kernels/dense/team.js'
import { type HeldWork, heldLayout } from '../../kernels/held/index.js'
import type { MapKernel } from '../../kernels/types.js'
import type { Passes, ReducePass, TensorSettings } from '../../methods/types.js'
import type { Plan, PlanTensor } from '../../plan/types.js'
import type { Findings } from '../findings.js'
import { type Held, type Leaf, type Node, type Pass, type Program, passElements } from '../program.js'
import { loraFactors } from './loraFactors.js'
import { isUniform, rowsLeaf } from './rowsLeaf.js'
import { bytesOf, bytewise, composed, placeOf, rowMajor, storedElements } from './storedPlaces.js'

/** A program with what the scheduler needs besides: workers never see methods. */
export interface Job {
  readonly program: Program
  /** By merge index of the program's nodes: what its method says, and which of the program's passes are its own. */
  readonly merges: readonly {
    readonly settings: TensorSettings
    readonly passes: Passes
    readonly own: readonly number[]
    /** Results of its scope's passes. */
    readonly scope: readonly Float64Array[]
  }[]
  /** The program again, with what has to be there before it begins; called when its turn has come. */
  readonly prepare?: () => Promise<Program>
  /** What it makes; absent for jobs that only digest or compare. */
  readonly target?: { readonly output: number; readonly tensor: number }
  /** The factoring that it finds, and where that is in the team's memory when it is done. */
  readonly finds?: { readonly factoring: number; readonly at: number }
  /** The factoring that has to be found before it begins. */
  readonly needs?: number
}

type Mutable = Job['merges'][number] & { own: number[] }

/** A node, and the leaves below it, each once. */
interface Added {
  readonly node: number
  readonly below: readonly number[]
}

const leavesBelow = (inputs: readonly Added[]): number[] => [...new Set(inputs.flatMap(({ below }) => below))]

/** Hands out the duty to digest a stored tensor: the first program that reads it has it. */
export interface DigestDuty {
  readonly enabled: boolean
  readonly taken: Set<string>
}

export const leafKey = ({ file, offset, bytes }: { file: number; offset: number; bytes: number }): string =>
  `${file}:${offset}:${bytes}`

/** What a program does that writes nothing: one pass over the tensor's last merge, or a factoring of it and the base. */
export type Ending =
  | { readonly kind: 'reduce'; readonly pass: ReducePass }
  | { readonly kind: 'factor'; readonly index: number }

/** The program of one output tensor. `outputFile` is its index among all files that the run writes. */
export function compileTensor(
  plan: Plan,
  tensor: PlanTensor,
  outputFile: number,
  duty: DigestDuty,
  findings: Findings,
  target: NonNullable<Job['target']> | undefined,
  ending?: Ending,
): Job {
  const { dtype, shape, offset } = tensor
  const expr = ending ? tensor.expr : plainOf(tensor.expr)
  // Bytes that stay what they are need no decoding, whatever they mean.
  const raw = !ending && expr.kind === 'read' && expr.dtype === dtype && isUniform(expr)
  if (!raw && !isWritable(dtype)) throw new Error(`internal: ${tensor.name} is to be written as ${dtype}`)
  const leaves: Leaf[] = []
  const nodes: Node[] = []
  const passes: Pass[] = []
  const computed: ComputedLeaf[] = []
  const merges: Mutable[] = []
  // A factoring's work says what it is done in: its base counts as well as the tensor.
  const compute =
    ending?.kind === 'factor' ? plan.factorings[ending.index]!.work.compute : computeOf(plan.compute, expr)
  const held: Held[] = []
  let heldBytes = 0
  /** Of the merges that work by rows: the same of them all. */
  let rowLength = 0
  const total = raw ? tensor.bytes : elements(shape)
  const computeDtype = compute === 'f32' ? (['F32', 4] as const) : (['F64', 8] as const)
  /** What several steps use is read and made once: leaves by expression, nodes also by the reach in which they are asked for. */
  const leafOf = new Map<Expr, number>()
  const leaf = (of: Expr, make: () => Leaf): number => {
    const known = leafOf.get(of) ?? leaves.push(make()) - 1
    leafOf.set(of, known)
    return known
  }
  const factorsOf = new Map<Expr, ReturnType<typeof loraFactors>>()
  const mergeOf = new Map<Expr, number>()
  const nodeOf = new Map<Expr, Map<string, Added>>()
  /** Said of what has another number of elements than the program. */
  const counted = (count: number): { elements?: number } => (count === total ? {} : { elements: count })

  const addRead = (leaf: number, below: readonly number[]): Added => ({
    node: nodes.push({ kind: 'read', leaf }) - 1,
    below,
  })

  function addFactor(of: FactorExpr): Added {
    const { factoring, factor, shape } = of
    const [dtype, elementBytes] = computeDtype
    const place = { file: -1, offset: 0, bytes: elementBytes * elements(shape), dtype, elementBytes, digestIn: -1 }
    const known = leafOf.get(of)
    const index = leaf(of, () => ({ ...place, ...counted(elements(shape)) }))
    if (known === undefined)
      computed.push({ leaf: index, values: () => Promise.resolve(findings.factor(factoring, factor)) })
    return addRead(index, [])
  }

  function addComputed(of: ComputedExpr): Added {
    const { step, tensor, shape, aligned = [] } = of
    const known = leafOf.get(of)
    const index = leaf(of, () => {
      const maps = composed(aligned, shape, findings)
      const gather = maps && { gather: { shape, strides: rowMajor(shape), maps } }
      const place = {
        file: -1,
        offset: 0,
        bytes: 4 * elements(shape),
        dtype: 'F32',
        elementBytes: 4,
        digestIn: -1,
      } as const
      return { ...place, ...counted(elements(shape)), ...gather }
    })
    if (known === undefined) computed.push({ leaf: index, values: () => findings.computed(step, tensor) })
    return addRead(index, [])
  }

  function addLeaf(of: ReadExpr): Added {
    const { rows, file, offset, bytes } = of
    const count = raw ? {} : counted(storedElements(of))
    if (rows)
      return addRead(
        leaf(of, () => ({ ...rowsLeaf(of, rows, raw, compute), ...count })),
        [],
      )
    if (!raw && !isFloat(of.dtype)) throw new Error(`internal: ${of.tensor} has dtype ${of.dtype} in a merge`)
    const float = !raw && isFloat(of.dtype) ? of.dtype : undefined
    const stored = { dtype: float ?? ('raw' as const), elementBytes: float ? bytesOf(float) : 1 }
    const index = leaf(of, () => {
      const place = placeOf(of, findings)
      const places = float ? place : bytewise(place, bytesOf(of.dtype))
      return { file, offset, bytes, ...stored, ...count, ...places, digestIn: -1 }
    })
    return addRead(index, [index])
  }

  function addLora(of: LoraExpr): Added {
    const { node, below } = addLeaf(of.base)
    const { aligned } = of.base
    const factors =
      factorsOf.get(of) ??
      loraFactors(
        of,
        aligned && composed(aligned.by, aligned.shape, findings),
        (file, offset, bytes) =>
          // Only its slot is used: what it shows is no tensor of this shape.
          leaves.push({ file, offset, bytes, dtype: 'raw', elementBytes: 1, digestIn: -1 }) - 1,
      )
    factorsOf.set(of, factors)
    const base = (nodes[node] as Node & { kind: 'read' }).leaf
    return { node: nodes.push({ kind: 'lora', base, rank: of.rank, scale: of.scale, ...factors }) - 1, below }
  }

  /** What a merge's method says, once for all nodes that make it. */
  function mergeIndex(of: MergeExpr, shape: readonly number[]): number {
    const known = mergeOf.get(of)
    if (known !== undefined) return known
    const settings = settingsOf(of, tensor.name, shape, plan.seed)
    const scope = (of.scopeIndex === undefined ? undefined : findings.scopes[of.scopeIndex]) ?? []
    const index = merges.push({ settings, passes: passesOf(of, settings), own: [], scope }) - 1
    mergeOf.set(of, index)
    return index
  }

  function addMerge(of: MergeExpr, shape: readonly number[], reach: Reach): Added {
    const { map, reduces, origin, held: work } = passesOf(of, settingsOf(of, tensor.name, shape, plan.seed))
    if (work) return addHeld(of, { ...work, compute }, map.kernel, shape, reach)
    // Its passes go over all of it, whatever of it is asked for here.
    if (reduces.length > 0 && reachKey(reach) !== reachKey(WHOLE)) add(of, shape, WHOLE)
    const inner = map.rows ? { ...reach, rows: reach.rows + 1 } : reach
    const all = [...of.inputs, ...(of.statistics ?? [])].map((input) => add(input, shape, inner))
    const base = origin === 'first' ? all[0] : of.base ? add(of.base, shape, inner) : undefined
    const inputs = origin === 'first' ? all.slice(1) : all
    const first = !mergeOf.has(of)
    const index = mergeIndex(of, shape)
    const node =
      nodes.push({
        kind: 'merge',
        kernel: map.kernel,
        inputs: inputs.map(({ node }) => node),
        base: base?.node ?? -1,
        merge: index,
        rows: map.rows ?? false,
        scratch: map.scratch ?? 0,
        ...counted(elements(shape)),
      }) - 1
    const below = leavesBelow([...inputs, ...(base ? [base] : [])])
    if (!first) return { node, below }
    if (map.rows || reduces.some(isByRows)) rowLength = shape.at(-1) ?? 1
    for (const { kernel, slots, combine, skip, tile, rows = false } of reduces) {
      merges[index]!.own.push(passes.push({ kind: 'reduce', node, kernel, slots, combine, rows }) - 1)
      // A pass that may be skipped, or reads one tile only, can't be trusted with digests.
      if (!skip && !tile) assignDuty(below, passes.length - 1)
    }
    return { node, below }
  }

  const addRounded = ({ rounded }: MergeExpr, made: Added): Added =>
    rounded ? { ...made, node: nodes.push({ kind: 'round', of: made.node, dtype: rounded }) - 1 } : made

  /** The passes of held work; where its result will be. */
  function addWork(work: HeldWork, models: readonly Added[], base: Added | undefined): number {
    const layout = heldLayout(work)
    const origin = TEAM_BYTES + heldBytes
    heldBytes += Math.ceil(layout.bytes / 64) * 64
    const index = held.push({ work, origin, own: origin + layout.own }) - 1
    for (const step of layout.steps) {
      if (step.kind === 'solve') {
        passes.push({ kind: 'solve', work: index, stage: step.stage })
        continue
      }
      const { terms, onBase, elements, first, narrow } = step
      const read = [...terms.map(({ input }) => models[input]!), ...(onBase && base ? [base] : [])]
      passes.push({
        kind: 'fill',
        terms: terms.map(({ input, factor }) => ({ node: models[input]!.node, factor })),
        base: onBase && base ? base.node : -1,
        elements,
        ...(first === undefined ? {} : { first }),
        at: origin + step.at,
        narrow,
      })
      assignDuty(
        read.flatMap(({ below }) => below),
        passes.length - 1,
      )
    }
    return origin + layout.result
  }

  /** Held work, its result as a leaf, and the map over that. Its matrices are filled by passes of their own, and once. */
  function addHeld(of: MergeExpr, work: HeldWork, kernel: MapKernel, shape: readonly number[], reach: Reach): Added {
    const count = elements(shape)
    const inputs = [...of.inputs, ...(of.statistics ?? [])]
    const models = inputs.map((input) => add(input, shape, WHOLE))
    const base = of.base && add(of.base, shape, WHOLE)
    const merge = mergeIndex(of, shape)
    const result = leaf(of, () => {
      const held = addWork(work, models, base)
      const [dtype, elementBytes] = computeDtype
      const place = { file: -1, offset: 0, bytes: elementBytes * count, ...counted(count), digestIn: -1 }
      return { ...place, dtype, elementBytes, held }
    })
    const near = of.base && add(of.base, shape, reach)
    const read = nodes.push({ kind: 'read', leaf: result }) - 1
    const made = { rows: false, scratch: 0, ...counted(count) }
    const operands = near ? [near.node, read] : [read]
    const node = nodes.push({ kind: 'merge', kernel, inputs: operands, base: -1, merge, ...made }) - 1
    return { node, below: leavesBelow([...models, ...(base ? [base] : [])]) }
  }

  function addCrop({ merge, base, shape }: CropExpr, reach: Reach): Added {
    const count = elements(shapeOf(merge, shape))
    const [first, rest] = cropReach(reach, count)
    const parts = [add(merge, shape, first), add(base, shape, rest)] as const
    const node = nodes.push({ kind: 'join', first: parts[0].node, rest: parts[1].node, elements: count }) - 1
    return { node, below: leavesBelow(parts) }
  }

  /** `whole`: the shape of what it is an input of. What is asked for the same elements twice is made once. */
  function add(of: Expr, whole: readonly number[], reach: Reach): Added {
    const known = nodeOf.get(of) ?? new Map<string, Added>()
    nodeOf.set(of, known)
    const key = reachKey(reach)
    const added = known.get(key) ?? make(of, whole, reach)
    known.set(key, added)
    return added
  }

  function make(of: Expr, whole: readonly number[], reach: Reach): Added {
    switch (of.kind) {
      case 'read':
        return addLeaf(of)
      case 'lora':
        return addLora(of)
      case 'merge':
        return addRounded(of, addMerge(of, shapeOf(of, whole), reach))
      case 'crop':
        return addCrop(of, reach)
      case 'computed':
        return addComputed(of)
      case 'factor':
        return addFactor(of)
    }
  }

  function assignDuty(below: readonly number[], pass: number): void {
    if (!duty.enabled) return
    const read = passElements(passes[pass]!, nodes, total)
    for (const leaf of below) {
      const key = leafKey(leaves[leaf]!)
      // Of a tensor that has more rows than are merged, the pass sees only a part.
      if ((leaves[leaf]!.elements ?? total) !== read) continue
      // Bytes are digested as they lie in the file, not in another order of the elements.
      if (leaves[leaf]!.view || leaves[leaf]!.gather || duty.taken.has(key)) continue
      duty.taken.add(key)
      leaves[leaf] = { ...leaves[leaf]!, digestIn: pass }
    }
  }

  const written = (): NonNullable<Program['output']> => ({
    file: outputFile,
    offset,
    ...(raw || !isWritable(dtype) ? { dtype: 'raw', elementBytes: 1 } : { dtype, elementBytes: bytesOf(dtype) }),
    digest: duty.enabled,
  })

  const root = add(expr, shape, WHOLE)
  let finds: Job['finds']
  if (ending?.kind === 'factor') {
    const { work, base } = plan.factorings[ending.index]!
    finds = { factoring: ending.index, at: addWork(work, [root], add(base, shape, WHOLE)) }
  } else if (ending) {
    const { kernel, slots, combine, rows = false } = ending.pass
    const pass = passes.push({ kind: 'reduce', node: root.node, kernel, slots, combine, rows }) - 1
    if (isByRows({ rows, combine })) rowLength = shape.at(-1) ?? 1
    const last = merges.at(-1)!
    merges[merges.length - 1] = { ...last, passes: { ...last.passes, reduces: [ending.pass] }, own: [pass] }
  } else passes.push({ kind: 'write' })
  if (!finds) assignDuty(root.below, passes.length - 1)
  const program: Program = {
    elements: total,
    compute,
    rowLength,
    leaves,
    nodes,
    passes,
    ...(held.length > 0 ? { held: { works: held, bytes: heldBytes } } : {}),
    ...(ending ? {} : { output: written() }),
  }
  return {
    program,
    merges,
    ...(target ? { target } : {}),
    ...(finds ? { finds } : {}),
    ...(expr.kind === 'factor' ? { needs: expr.factoring } : {}),
    ...(computed.length > 0 ? { prepare: () => withMemory(program, computed) } : {}),
  }
}

interface ComputedLeaf {
  readonly leaf: number
  readonly values: () => Promise<Float32Array | Float64Array>
}

/** The program with what steps computed for its leaves. */
async function withMemory(program: Program, computed: readonly ComputedLeaf[]): Promise<Program> {
  const leaves = [...program.leaves]
  for (const { leaf, values } of computed) leaves[leaf] = { ...leaves[leaf]!, memory: await values() }
  return { ...program, leaves }
}

const isByRows = ({ rows, combine }: Pick<ReducePass, 'rows' | 'combine'>): boolean =>
  rows === true || combine === 'rows'

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
