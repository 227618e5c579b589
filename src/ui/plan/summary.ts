import { naturalOrder } from '../../core/collections/naturalOrder.js'
import { COPY_REASONS } from '../../core/reasons.js'
import type { AbsentReason, CopyReason, Expr, Plan, PlanOutput } from '../../index.js'

/** Counts of what a plan does to the tensors of one output. */
export interface OutputSummary {
  /** Tensors by method: `slerp`, or `slerp(linear)` for fused steps. */
  readonly methods: ReadonlyMap<string, number>
  /** Copied tensors by reason. */
  readonly copies: ReadonlyMap<CopyReason | 'as the recipe says', number>
  /** How many tensors skip a model, by model and reason. */
  readonly absent: readonly { readonly model: string; readonly reason: AbsentReason; readonly tensors: number }[]
  /** Tensors of which only the rows that all models have are merged. */
  readonly cropped: readonly {
    readonly tensor: string
    readonly rows: number
    readonly of: number
    readonly models: readonly string[]
  }[]
  readonly dtypes: ReadonlyMap<string, number>
  /** Size of all files, including headers. */
  readonly bytes: number
}

const add = <K>(counts: Map<K, number>, key: K): void => void counts.set(key, (counts.get(key) ?? 0) + 1)

/** Longer names of fused methods are shortened: chains of many steps fuse too. */
const LONGEST_METHOD = 120

const isRead = ({ kind }: Expr): boolean => kind === 'read'

/** The methods of fused steps, the outer one first. `known` caches expressions that several steps share. */
function methodOf(expr: Expr, known: Map<Expr, string | undefined>): string | undefined {
  if (expr.kind === 'read') return undefined
  if (expr.kind === 'crop') return methodOf(expr.merge, known)
  if (expr.kind === 'factor') return expr.merged?.method ?? 'extract'
  if (expr.kind === 'core') return undefined
  if (expr.kind === 'constant') return 'alpha'
  if (expr.kind === 'computed' || expr.kind === 'lora') return expr.kind
  // As most tensors of large plans are.
  if (expr.inputs.every(isRead) && (!expr.base || isRead(expr.base))) return expr.method
  if (known.has(expr)) return known.get(expr)
  const inner = [...expr.inputs, ...(expr.base ? [expr.base] : [])]
    .map((input) => methodOf(input, known))
    .filter((name) => name !== undefined)
  const whole = inner.length === 0 ? expr.method : `${expr.method}(${[...new Set(inner)].join(', ')})`
  const name = whole.length > LONGEST_METHOD ? `${expr.method}(…)` : whole
  known.set(expr, name)
  return name
}

export function summarize(output: PlanOutput): OutputSummary {
  const methods = new Map<string, number>()
  const copies = new Map<CopyReason | 'as the recipe says', number>()
  const dtypes = new Map<string, number>()
  const absent = new Map<string, { model: string; reason: AbsentReason; tensors: number }>()
  const known = new Map<Expr, string | undefined>()
  for (const tensor of output.tensors) {
    add(dtypes, tensor.dtype)
    const method = methodOf(tensor.expr, known)
    if (method === undefined) add(copies, tensor.reason ? COPY_REASONS[tensor.reason] : 'as the recipe says')
    else add(methods, method)
    for (const { model, reason } of tensor.absent ?? []) {
      const entry = absent.get(`${reason}\0${model}`) ?? { model, reason, tensors: 0 }
      entry.tensors += 1
      absent.set(`${reason}\0${model}`, entry)
    }
  }
  const bytes = output.files.reduce((sum, file) => sum + file.size, 0)
  const cropped = output.tensors.flatMap(({ name, expr, shape }) =>
    expr.kind === 'crop' ? [{ tensor: name, rows: expr.merge.shape![0]!, of: shape[0]!, models: expr.cropped }] : [],
  )
  cropped.sort((a, b) => naturalOrder(a.tensor, b.tensor))
  return { methods, copies, absent: [...absent.values()], cropped, dtypes, bytes }
}

/** Number and total size of the files of a model that the plan reads. */
export function modelFiles(plan: Plan, model: number): { files: number; bytes: number } {
  const files = plan.files.filter((file) => file.model === model)
  return { files: files.length, bytes: files.reduce((sum, file) => sum + file.size, 0) }
}
