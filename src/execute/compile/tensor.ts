/** Programs for a plan's tensors: to write a tensor, to read it into memory, or to compute numbers from it. */
import { type Dtype, elements, type WrittenDtype } from '../../core/dtypes.js'
import { bytesOf, isWritable } from '../../encodings/index.js'
import { computeOf, coreWork, factoringInputs, plainOf } from '../../expr/cost.js'
import type { Expr, LowRank, MergeExpr } from '../../expr/types.js'
import { factoringsOf, WHOLE } from '../../expr/walk.js'
import { corePlaces, type HeldWork } from '../../kernels/held/index.js'
import type { ReducePass } from '../../methods/types.js'
import type { Plan, PlanTensor } from '../../plan/types.js'
import { dtypeOf } from '../../views/shape.js'
import { isDecoded } from '../../views/stored.js'
import type { Findings } from '../findings.js'
import type { OutputPlace, Program } from '../program.js'
import { assignDuty, type Draft, newDraft, programOf } from './draft.js'
import { addWork } from './heldWork.js'
import { type DigestDuty, type Job, NO_DUTY, type PassRule } from './job.js'
import { addExpr, isByRows } from './nodes.js'

/** A tensor with its name, from which methods derive random numbers. */
export interface NamedTensor {
  readonly name: string
  readonly shape: readonly number[]
  readonly expr: Expr
}

/** The job that writes an output's tensor. `firstFile` is the index of the output's first file among all files that the run writes. */
export function compileTensor(
  plan: Plan,
  tensor: PlanTensor,
  firstFile: number,
  duty: DigestDuty,
  findings: Findings,
  target: NonNullable<Job['target']>,
): Job {
  const { dtype, quantized } = tensor
  // Scales are not elements of the tensor: the run writes them when the job is done.
  const placements = quantized ? tensor.placements.slice(0, 1) : tensor.placements
  const other = placements.find((placement) => placement.dtype !== dtype)
  if (other) throw new Error(`internal: ${tensor.name} is made as ${dtype}, and ${other.name} stored as ${other.dtype}`)
  const places = placements.map(({ file, offset, from, count }) => ({ file: firstFile + file, offset, from, count }))
  return { ...writtenJob(plan, tensor, { dtype, places }, duty, findings), target }
}

/** The job that computes a tensor and writes its float32 elements, one after the other, to output file 0. */
export const compileValues = (plan: Plan, tensor: NamedTensor, findings: Findings): Job =>
  writtenJob(
    plan,
    tensor,
    { dtype: 'F32', places: [{ file: 0, offset: 0, from: 0, count: elements(tensor.shape) }] },
    NO_DUTY,
    findings,
  )

function writtenJob(
  plan: Plan,
  { name, shape, expr: of }: NamedTensor,
  { dtype, places }: { readonly dtype: Dtype; readonly places: readonly OutputPlace[] },
  duty: DigestDuty,
  findings: Findings,
): Job {
  const expr = plainOf(of)
  // Copied bytes need no decoding.
  const raw = expr.kind === 'read' && dtypeOf(expr.view) === dtype && !isDecoded(expr.view)
  const encoded = raw ? ({ dtype: 'raw', elementBytes: 1 } as const) : writable(name, dtype)
  const scale = raw ? bytesOf(dtype) : 1
  const total = elements(shape) * scale
  const draft = newDraft({ plan, tensor: name, findings, duty, raw, total, compute: computeOf(plan.compute, expr) })
  const { below } = addExpr(draft, expr, shape, WHOLE)
  assignDuty(draft, below, draft.passes.push({ kind: 'write' }) - 1)
  const scaled = raw ? places.map((one) => ({ ...one, from: one.from * scale, count: one.count * scale })) : places
  // Of tensors in parts, ranges of tiles are recorded by these digests. The parts are digested after they are written.
  const digest = duty.enabled && areInTurn(places, elements(shape))
  return jobOf(draft, programOf(draft, { places: scaled, ...encoded, digest }), expr)
}

/** Whether each of so many elements is in one of the places. */
function areInTurn(places: readonly OutputPlace[], count: number): boolean {
  let end = 0
  for (const place of [...places].sort((a, b) => a.from - b.from)) {
    if (place.from !== end) return false
    end += place.count
  }
  return end === count
}

function writable(name: string, dtype: Dtype): { readonly dtype: WrittenDtype; readonly elementBytes: number } {
  if (!isWritable(dtype) && dtype !== 'F8_E4M3') throw new Error(`internal: ${name} is to be written as ${dtype}`)
  return { dtype, elementBytes: bytesOf(dtype) }
}

/** The job for one pass of a scope over one of its tensors. Writes nothing. */
export function compileReduce(
  plan: Plan,
  { name, shape, expr }: NamedTensor & { readonly expr: MergeExpr },
  rule: PassRule & { readonly kind: 'scope' },
  reduce: ReducePass,
  duty: DigestDuty,
  findings: Findings,
): Job {
  const [total, compute] = [elements(shape), computeOf(plan.compute, expr)]
  const draft = newDraft({ plan, tensor: name, findings, duty, raw: false, total, compute })
  // The pass looks at the merge itself, not at what is rounded of it.
  const { rounded: _, ...merge } = expr
  const root = addExpr(draft, merge, shape, WHOLE)
  const { kernel, slots, combine, rows = false, tile } = reduce
  const pass = draft.passes.push({ kind: 'reduce', node: root.node, kernel, slots, combine, rows }) - 1
  if (isByRows(reduce)) draft.rowLength = shape.at(-1) ?? 1
  if (!tile) assignDuty(draft, root.below, pass)
  draft.merges[draft.merges.length - 1] = { ...draft.merges.at(-1)!, rule, own: [pass] }
  return jobOf(draft, programOf(draft), expr)
}

/** The job that computes both factors of a difference, or of merged low-rank changes. Writes nothing. */
export function compileFactoring(plan: Plan, index: number, duty: DigestDuty, findings: Findings): Job {
  const factoring = plan.factorings[index]!
  const { tensor, shape, from, base, changes, work } = factoring
  // The work defines its compute type, which depends on the base and the tensor.
  const { compute } = work
  const draft = newDraft({ plan, tensor, findings, duty, raw: false, total: elements(shape), compute })
  const inputs = factoringInputs(factoring).map(({ part, shape }) => addExpr(draft, part, shape, WHOLE))
  const [models, other] = from ? [inputs.slice(0, 1), base && inputs[1]] : [inputs, undefined]
  const made = changes && from ? withBases(draft, work, changes) : work
  const finds = { factoring: index, at: addWork(draft, made, models, other) }
  return { ...jobOf(draft, programOf(draft)), finds }
}

/** The work that expands a merged core, with the addresses of the bases that the work of the cores makes. */
function withBases({ cores }: Draft, work: HeldWork, changes: LowRank): HeldWork {
  const origin = cores.get(changes)
  if (origin === undefined) throw new Error('internal: a merge of cores that uses no core')
  const { down, across } = corePlaces(coreWork(changes))
  return { ...work, options: { ...work.options, down: origin + down, across: origin + across } }
}

/** Bytes of a file. */
export interface FilePart {
  readonly file: number
  readonly offset: number
  readonly bytes: number
}

/** A job that only digests bytes, which lie in parts of files, one after the other. */
export function compileDigest(parts: readonly FilePart[]): Job {
  const raw = { dtype: 'raw', elementBytes: 1 } as const
  const readers = parts.map((part) => ({ kind: 'contiguous', ...part }) as const)
  const [only] = readers
  const elements = parts.reduce((sum, { bytes }) => sum + bytes, 0)
  const joined = () => readers.map((reader) => ({ source: { reader, ...raw }, block: reader.bytes }))
  const reader = only && readers.length === 1 ? only : ({ kind: 'concat', parts: joined() } as const)
  return {
    program: {
      ...{ elements, compute: 'f32', rowLength: 0 },
      leaves: [{ reader, ...raw, digestIn: 0 }],
      nodes: [{ kind: 'read', leaf: 0 }],
      passes: [{ kind: 'digest' }],
    },
    merges: [],
  }
}

function jobOf({ merges, computed }: Draft, program: Program, expr?: Expr): Job {
  return {
    ...{ program, merges },
    ...(expr?.kind === 'factor' ? { needs: factoringsOf(expr) } : {}),
    ...(computed.length > 0 ? { computed } : {}),
  }
}
