import { elements, isFloat, isWritable } from '../core/dtypes.js'
import { TEAM_BYTES } from '../kernels/dense/team.js'
import { type HeldWork, heldLayout } from '../kernels/held/index.js'
import type { MapKernel } from '../kernels/types.js'
import type { Passes, ReducePass, TensorSettings } from '../methods/types.js'
import { passesOf, settingsOf, shapeOf } from '../plan/cost.js'
import type {
  ComputedExpr,
  CropExpr,
  Expr,
  FactorExpr,
  LoraExpr,
  MergeExpr,
  Plan,
  PlanTensor,
  ReadExpr,
} from '../plan/types.js'
import type { Findings } from './findings.js'
import { loraFactors } from './loraFactors.js'
import { type Held, type Leaf, type Node, type Pass, type Program, passElements } from './program.js'
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

/** A node, and the leaves below it. */
interface Added {
  readonly node: number
  readonly below: readonly number[]
}

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
  const { expr, dtype, shape, offset } = tensor
  // Bytes that stay what they are need no decoding, whatever they mean.
  const raw = !ending && expr.kind === 'read' && expr.dtype === dtype && isUniform(expr)
  if (!raw && !isWritable(dtype)) throw new Error(`internal: ${tensor.name} is to be written as ${dtype}`)
  const leaves: Leaf[] = []
  const nodes: Node[] = []
  const passes: Pass[] = []
  const computed: ComputedLeaf[] = []
  const merges: Mutable[] = []
  const compute = plan.compute === 'float64' ? 'f64' : 'f32'
  const held: Held[] = []
  let heldBytes = 0
  /** Of the merges that work by rows: the same of them all. */
  let rowLength = 0
  const total = raw ? tensor.bytes : elements(shape)
  const computeDtype = compute === 'f32' ? (['F32', 4] as const) : (['F64', 8] as const)
  /** Said of what has another number of elements than the program. */
  const counted = (count: number): { elements?: number } => (count === total ? {} : { elements: count })

  function addFactor({ factoring, factor, shape }: FactorExpr): Added {
    const values = () => Promise.resolve(findings.factor(factoring, factor))
    const [dtype, elementBytes] = computeDtype
    const place = { file: -1, offset: 0, bytes: elementBytes * elements(shape), dtype, elementBytes, digestIn: -1 }
    const leaf = leaves.push({ ...place, ...counted(elements(shape)) }) - 1
    computed.push({ leaf, values })
    return { node: nodes.push({ kind: 'read', leaf }) - 1, below: [] }
  }

  function addComputed({ step, tensor, shape, aligned = [] }: ComputedExpr): Added {
    const bytes = 4 * elements(shape)
    const maps = composed(aligned, shape, findings)
    const gather = maps && { gather: { shape, strides: rowMajor(shape), maps } }
    const place = { file: -1, offset: 0, bytes, dtype: 'F32', elementBytes: 4, digestIn: -1 } as const
    const leaf = leaves.push({ ...place, ...counted(elements(shape)), ...gather }) - 1
    computed.push({ leaf, values: () => findings.computed(step, tensor) })
    return { node: nodes.push({ kind: 'read', leaf }) - 1, below: [] }
  }

  function addLeaf(of: ReadExpr): Added {
    const count = raw ? {} : counted(storedElements(of))
    if (of.rows) {
      const leaf = leaves.push({ ...rowsLeaf(of, of.rows, raw, compute), ...count }) - 1
      return { node: nodes.push({ kind: 'read', leaf }) - 1, below: [] }
    }
    const { file, offset, bytes } = of
    if (!raw && !isFloat(of.dtype)) throw new Error(`internal: ${of.tensor} has dtype ${of.dtype} in a merge`)
    const float = !raw && isFloat(of.dtype) ? of.dtype : undefined
    const stored = { dtype: float ?? ('raw' as const), elementBytes: float ? bytesOf(float) : 1 }
    const place = placeOf(of, findings)
    const leaf =
      leaves.push({
        file,
        offset,
        bytes,
        ...stored,
        ...count,
        ...(float ? place : bytewise(place, bytesOf(of.dtype))),
        digestIn: -1,
      }) - 1
    return { node: nodes.push({ kind: 'read', leaf }) - 1, below: [leaf] }
  }

  function addLora(of: LoraExpr): Added {
    const { node, below } = addLeaf(of.base)
    const { aligned } = of.base
    const maps = aligned && composed(aligned.by, aligned.shape, findings)
    const factors = loraFactors(
      of,
      maps,
      (file, offset, bytes) =>
        // Only its slot is used: what it shows is no tensor of this shape.
        leaves.push({ file, offset, bytes, dtype: 'raw', elementBytes: 1, digestIn: -1 }) - 1,
    )
    const base = (nodes[node] as Node & { kind: 'read' }).leaf
    return { node: nodes.push({ kind: 'lora', base, rank: of.rank, scale: of.scale, ...factors }) - 1, below }
  }

  function addMerge(of: MergeExpr, shape: readonly number[]): Added {
    const settings = settingsOf(of, tensor.name, shape, plan.seed)
    const scope = (of.scopeIndex === undefined ? undefined : findings.scopes[of.scopeIndex]) ?? []
    const merge: Mutable = { settings, passes: passesOf(of, settings), own: [], scope }
    const { map, reduces, origin } = merge.passes
    const all = [...of.inputs, ...(of.statistics ?? [])].map((input) => add(input, shape))
    const base = origin === 'first' ? all[0] : of.base ? add(of.base, shape) : undefined
    const inputs = origin === 'first' ? all.slice(1) : all
    const index = merges.push(merge) - 1
    const count = elements(shape)
    if (merge.passes.held) return addHeld({ ...merge.passes.held, compute }, map.kernel, all, base, index, count)
    const node =
      nodes.push({
        kind: 'merge',
        kernel: map.kernel,
        inputs: inputs.map(({ node }) => node),
        base: base?.node ?? -1,
        merge: index,
        rows: map.rows ?? false,
        scratch: map.scratch ?? 0,
        ...counted(count),
      }) - 1
    if (map.rows || reduces.some(isByRows)) rowLength = shape.at(-1) ?? 1
    const below = [...inputs, ...(base ? [base] : [])].flatMap((input) => input.below)
    for (const { kernel, slots, combine, skip, tile, rows = false } of reduces) {
      merge.own.push(passes.push({ kind: 'reduce', node, kernel, slots, combine, rows }) - 1)
      // A pass that may be skipped, or reads one tile only, can't be trusted with digests.
      if (!skip && !tile) assignDuty(below, passes.length - 1)
    }
    return { node, below }
  }

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

  /** Held work, its result as a leaf, and the map over that. */
  function addHeld(
    work: HeldWork,
    kernel: MapKernel,
    models: readonly Added[],
    base: Added | undefined,
    merge: number,
    count: number,
  ): Added {
    const held = addWork(work, models, base)
    const [dtype, elementBytes] = computeDtype
    const place = { file: -1, offset: 0, bytes: elementBytes * count, ...counted(count), digestIn: -1 }
    const leaf = leaves.push({ ...place, dtype, elementBytes, held }) - 1
    const result = nodes.push({ kind: 'read', leaf }) - 1
    const inputs = base ? [base.node, result] : [result]
    const made = { rows: false, scratch: 0, ...counted(count) }
    const node = nodes.push({ kind: 'merge', kernel, inputs, base: -1, merge, ...made }) - 1
    return { node, below: [...models, ...(base ? [base] : [])].flatMap(({ below }) => below) }
  }

  function addCrop({ merge, base, shape }: CropExpr): Added {
    const [first, rest] = [add(merge, shape), add(base, shape)]
    const count = elements(shapeOf(merge, shape))
    const node = nodes.push({ kind: 'join', first: first.node, rest: rest.node, elements: count }) - 1
    return { node, below: [...first.below, ...rest.below] }
  }

  /** `whole`: the shape of what it is an input of. */
  function add(of: Expr, whole: readonly number[]): Added {
    switch (of.kind) {
      case 'read':
        return addLeaf(of)
      case 'lora':
        return addLora(of)
      case 'merge':
        return addMerge(of, shapeOf(of, whole))
      case 'crop':
        return addCrop(of)
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

  const root = add(expr, shape)
  let finds: Job['finds']
  if (ending?.kind === 'factor') {
    const { work, base } = plan.factorings[ending.index]!
    finds = { factoring: ending.index, at: addWork(work, [root], add(base, shape)) }
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
