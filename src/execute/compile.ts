import { DTYPES, type Dtype, elements, isFloat, isWritable } from '../core/dtypes.js'
import { TEAM_BYTES } from '../kernels/dense/team.js'
import { type HeldWork, heldLayout } from '../kernels/held/index.js'
import type { MapKernel } from '../kernels/types.js'
import type { Passes, ReducePass, TensorSettings } from '../methods/types.js'
import { passesOf, settingsOf } from '../plan/cost.js'
import type { Alignment, ComputedExpr, Expr, MergeExpr, Plan, PlanTensor, ReadExpr } from '../plan/types.js'
import type { Findings } from './findings.js'
import type { Held, Leaf, Node, Pass, Program } from './program.js'
import { isUniform, rowsLeaf } from './rowsLeaf.js'

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
}

const bytesOf = (dtype: Dtype) => DTYPES[dtype].bits / 8

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

/**
 * The program of one output tensor. `outputFile` is its index among all files that the run writes. `only`: nothing is
 * written; the program ends with that pass over the tensor's last merge.
 */
export function compileTensor(
  plan: Plan,
  tensor: PlanTensor,
  outputFile: number,
  duty: DigestDuty,
  findings: Findings,
  target: NonNullable<Job['target']> | undefined,
  only?: ReducePass,
): Job {
  const { expr, dtype, shape, offset } = tensor
  // Bytes that stay what they are need no decoding, whatever they mean.
  const raw = expr.kind === 'read' && expr.dtype === dtype && isUniform(expr)
  if (!raw && !isWritable(dtype)) throw new Error(`internal: ${tensor.name} is to be written as ${dtype}`)
  const leaves: Leaf[] = []
  const nodes: Node[] = []
  const passes: Pass[] = []
  const computed: ComputedLeaf[] = []
  const merges: Mutable[] = []
  const compute = plan.compute === 'float64' ? 'f64' : 'f32'
  const held: Held[] = []
  let heldBytes = 0

  function addComputed({ step, tensor, shape, aligned = [] }: ComputedExpr): {
    node: number
    below: readonly number[]
  } {
    const bytes = 4 * elements(shape)
    const maps = composed(aligned, shape, findings)
    const gather = maps && { gather: { shape, strides: rowMajor(shape), maps } }
    const leaf = leaves.push({ file: -1, offset: 0, bytes, dtype: 'F32', elementBytes: 4, ...gather, digestIn: -1 }) - 1
    computed.push({ leaf, step, tensor })
    return { node: nodes.push({ kind: 'read', leaf }) - 1, below: [] }
  }

  function addLeaf(of: ReadExpr): { node: number; below: readonly number[] } {
    if (of.rows) {
      const leaf = leaves.push(rowsLeaf(of, of.rows, raw, compute)) - 1
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
        ...(float ? place : bytewise(place, bytesOf(of.dtype))),
        digestIn: -1,
      }) - 1
    return { node: nodes.push({ kind: 'read', leaf }) - 1, below: [leaf] }
  }

  function addMerge(of: MergeExpr): { node: number; below: readonly number[] } {
    const settings = settingsOf(of, tensor.name, shape, plan.seed)
    const scope = (of.scopeIndex === undefined ? undefined : findings.scopes[of.scopeIndex]) ?? []
    const merge: Mutable = { settings, passes: passesOf(of, settings), own: [], scope }
    const { map, reduces, origin } = merge.passes
    const all = [...of.inputs, ...(of.statistics ?? [])].map(add)
    const base = origin === 'first' ? all[0] : of.base ? add(of.base) : undefined
    const inputs = origin === 'first' ? all.slice(1) : all
    const index = merges.push(merge) - 1
    if (merge.passes.held) return addHeld({ ...merge.passes.held, compute }, map.kernel, all, base, index)
    const node =
      nodes.push({
        kind: 'merge',
        kernel: map.kernel,
        inputs: inputs.map(({ node }) => node),
        base: base?.node ?? -1,
        merge: index,
        rows: map.rows ?? false,
        scratch: map.scratch ?? 0,
      }) - 1
    const below = [...inputs, ...(base ? [base] : [])].flatMap((input) => input.below)
    for (const { kernel, slots, combine, skip, tile, rows = false } of reduces) {
      merge.own.push(passes.push({ kind: 'reduce', node, kernel, slots, combine, rows }) - 1)
      // A pass that may be skipped, or reads one tile only, can't be trusted with digests.
      if (!skip && !tile) assignDuty(below, passes.length - 1)
    }
    return { node, below }
  }

  /** The passes of held work, its result as a leaf, and the map over that. */
  function addHeld(
    work: HeldWork,
    kernel: MapKernel,
    models: readonly Added[],
    base: Added | undefined,
    merge: number,
  ): Added {
    const layout = heldLayout(work)
    const origin = TEAM_BYTES + heldBytes
    heldBytes += Math.ceil(layout.bytes / 64) * 64
    const index = held.push({ work, origin, own: origin + layout.own }) - 1
    for (const step of layout.steps) {
      if (step.kind === 'solve') {
        passes.push({ kind: 'solve', work: index, stage: step.stage })
        continue
      }
      const { terms, onBase, elements, narrow } = step
      const read = [...terms.map(({ input }) => models[input]!), ...(onBase && base ? [base] : [])]
      passes.push({
        kind: 'fill',
        terms: terms.map(({ input, factor }) => ({ node: models[input]!.node, factor })),
        base: onBase && base ? base.node : -1,
        elements,
        at: origin + step.at,
        narrow,
      })
      assignDuty(
        read.flatMap(({ below }) => below),
        passes.length - 1,
      )
    }
    const [dtype, elementBytes] = compute === 'f32' ? (['F32', 4] as const) : (['F64', 8] as const)
    const bytes = elementBytes * elements(shape)
    const place = { file: -1, offset: 0, bytes, dtype, elementBytes, held: origin + layout.result, digestIn: -1 }
    const result = nodes.push({ kind: 'read', leaf: leaves.push(place) - 1 }) - 1
    const inputs = base ? [base.node, result] : [result]
    const node = nodes.push({ kind: 'merge', kernel, inputs, base: -1, merge, rows: false, scratch: 0 }) - 1
    return { node, below: [...models, ...(base ? [base] : [])].flatMap(({ below }) => below) }
  }

  function add(of: Expr): { node: number; below: readonly number[] } {
    switch (of.kind) {
      case 'read':
        return addLeaf(of)
      case 'merge':
        return addMerge(of)
      case 'computed':
        return addComputed(of)
    }
  }

  function assignDuty(below: readonly number[], pass: number): void {
    if (!duty.enabled) return
    for (const leaf of below) {
      const key = leafKey(leaves[leaf]!)
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

  const root = add(expr)
  if (only) {
    const { kernel, slots, combine, rows = false } = only
    const pass = passes.push({ kind: 'reduce', node: root.node, kernel, slots, combine, rows }) - 1
    const last = merges.at(-1)!
    merges[merges.length - 1] = { ...last, passes: { ...last.passes, reduces: [only] }, own: [pass] }
  } else passes.push({ kind: 'write' })
  assignDuty(root.below, passes.length - 1)
  const byRows = nodes.some((node) => node.kind === 'merge' && node.rows) || passes.some(isByRows)
  const program: Program = {
    elements: raw ? tensor.bytes : elements(shape),
    compute,
    rowLength: byRows ? (shape.at(-1) ?? 1) : 0,
    leaves,
    nodes,
    passes,
    ...(held.length > 0 ? { held: { works: held, bytes: heldBytes } } : {}),
    ...(only ? {} : { output: written() }),
  }
  return {
    program,
    merges,
    ...(target ? { target } : {}),
    ...(computed.length > 0 ? { prepare: () => withMemory(program, computed, findings) } : {}),
  }
}

interface ComputedLeaf {
  readonly leaf: number
  readonly step: string
  readonly tensor: string
}

/** The program with what steps computed for its leaves. */
async function withMemory(program: Program, computed: readonly ComputedLeaf[], findings: Findings): Promise<Program> {
  const leaves = [...program.leaves]
  for (const { leaf, step, tensor } of computed) {
    leaves[leaf] = { ...leaves[leaf]!, memory: await findings.computed(step, tensor) }
  }
  return { ...program, leaves }
}

/** How a stored tensor's elements are found: nothing where they lie one after the other. */
function placeOf({ view, aligned }: ReadExpr, findings: Findings): Pick<Leaf, 'view' | 'gather'> {
  if (!aligned) return view ? { view } : {}
  const maps = composed(aligned.by, aligned.shape, findings)
  if (!maps) return view ? { view } : {}
  return { gather: { shape: aligned.shape, strides: view?.strides ?? rowMajor(aligned.shape), maps } }
}

/** Permutations one after the other: place i of the result is place first[second[i]] of the stored tensor. */
function composed(
  by: readonly Alignment[],
  shape: readonly number[],
  findings: Findings,
): (Int32Array | null)[] | undefined {
  const maps: (Int32Array | null)[] = shape.map(() => null)
  for (const alignment of by) {
    for (const { axis, map } of findings.maps(alignment, shape)) {
      const first = maps[axis]
      maps[axis] = first ? map.map((place) => first[place]!) : map
    }
  }
  return maps.some((map) => map) ? maps : undefined
}

const rowMajor = (shape: readonly number[]): number[] =>
  shape.map((_, axis) => shape.slice(axis + 1).reduce((product, size) => product * size, 1))

/** The same where elements are single bytes. */
function bytewise({ view, gather }: Pick<Leaf, 'view' | 'gather'>, bytes: number): Pick<Leaf, 'view' | 'gather'> {
  const fine = <T extends NonNullable<Leaf['view']>>({ shape, strides, ...rest }: T) => ({
    ...rest,
    shape: [...shape, bytes],
    strides: [...strides.map((stride) => stride * bytes), 1],
  })
  if (gather) return { gather: { ...fine(gather), maps: [...gather.maps, null] } }
  return view ? { view: fine(view) } : {}
}

const isByRows = (pass: Pass): boolean => pass.kind === 'reduce' && (pass.rows || pass.combine === 'rows')

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
