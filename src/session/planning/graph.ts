import { printable } from '../../core/printable.js'
import { counted } from '../../core/words.js'
import type { ComputedExpr, ConstantExpr, CoreExpr, Expr, FactorExpr, ReadExpr } from '../../expr/types.js'
import { inputsOf } from '../../expr/walk.js'
import { isAdapted } from '../../methods/adapted.js'
import { isNoise } from '../../methods/noise.js'
import { kindsOfAnalyses } from '../../plan/analysisCost.js'
import type { Plan, PlanTensor } from '../../plan/types.js'
import { lastFinding, mainStored, partsByModel } from '../../views/stored.js'

/** The plan as a graph: models, steps and outputs, and what flows between them. */
export interface PlanGraph {
  /** Models first, then steps in execution order, then outputs. */
  readonly nodes: readonly {
    /** Safe in every graph language: `n0`, `n1`, … */
    readonly id: string
    readonly kind: 'model' | 'step' | 'output'
    readonly lines: readonly string[]
  }[]
  /** From what is read to what reads it, by ids. */
  readonly edges: readonly { readonly from: string; readonly to: string; readonly label: string }[]
}

interface Edge {
  readonly from: string
  readonly to: string
  /** The tensors that flow along it, by how they are used. */
  readonly what: Map<string, Set<PlanTensor>>
}

/** The graph of a plan. Its texts are printable, but not escaped for any graph language. Never throws. */
export function planGraph(plan: Plan): PlanGraph {
  const ids = new Map<string, string>()
  const nodes: PlanGraph['nodes'][number][] = []
  const node = (key: string, kind: PlanGraph['nodes'][number]['kind'], lines: readonly string[]): string => {
    const id = `n${nodes.length}`
    ids.set(key, id)
    nodes.push({ id, kind, lines: lines.map(printable) })
    return id
  }
  for (const { name, reference } of plan.models) node(name, 'model', name === reference ? [name] : [name, reference])
  for (const { name, kind } of plan.steps) node(name, 'step', name === kind ? [name] : [name, kind])
  const edges = new Map<string, Edge>()
  for (const output of plan.outputs) {
    const id = node(`\0output ${nodes.length}`, 'output', [output.path])
    for (const tensor of output.tensors) addFlows(plan, ids, edges, tensor, output.from)
    const from = ids.get(output.from)
    if (from !== undefined) edges.set(`${from} ${id}`, { from, to: id, what: new Map([['', new Set(output.tensors)]]) })
  }
  return { nodes, edges: [...edges.values()].map(({ from, to, what }) => ({ from, to, label: labelOf(what) })) }
}

const labelOf = (what: Edge['what']): string =>
  [...what]
    .map(([name, tensors]) => (name === '' ? counted(tensors.size, 'tensor') : `${name} ${tensors.size}`))
    .map(printable)
    .join(', ')

/** Adds a tensor to an edge; not where an end is no node, or both are one. */
function addFlow(
  edges: Map<string, Edge>,
  from: string | undefined,
  to: string | undefined,
  what: string,
  tensor: PlanTensor,
): void {
  if (from === undefined || to === undefined || from === to) return
  const edge = edges.get(`${from} ${to}`) ?? { from, to, what: new Map<string, Set<PlanTensor>>() }
  edges.set(`${from} ${to}`, edge)
  edge.what.set(what, (edge.what.get(what) ?? new Set()).add(tensor))
}

/** What a step did to make a tensor as a whole. */
function howMade(
  expr: ComputedExpr | ConstantExpr | CoreExpr | FactorExpr,
  kinds: ReadonlyMap<string, string>,
): string {
  return expr.kind === 'factor' ? (expr.merged?.method ?? kinds.get(expr.step) ?? 'computed') : expr.kind
}

/** Where expressions come from. */
function originsOf(plan: Plan) {
  const modelOf = ({ view }: ReadExpr): string | undefined =>
    plan.models[plan.files[mainStored(view).file]?.model ?? -1]?.name
  const readBy = (expr: ReadExpr): string | undefined => lastFinding(expr.view)?.step ?? modelOf(expr)
  /** The model or step that `expr` comes from. */
  const origin = (expr: Expr): string | undefined =>
    expr.kind === 'read' ? readBy(expr) : expr.kind === 'lora' ? readBy(expr.base ?? expr.right.read) : expr.step
  /** A tensor that is read from several models: its parts. */
  const readsIn = ({ view }: ReadExpr): readonly ReadExpr[] =>
    partsByModel(view, (file) => plan.files[file]?.model).map((part) => ({ kind: 'read', view: part }))
  return { modelOf, readBy, origin, readsIn }
}

/** Adds the edges of one tensor: from every model and step that it is made of, up to `holder`. */
function addFlows(
  plan: Plan,
  ids: ReadonlyMap<string, string>,
  edges: Map<string, Edge>,
  tensor: PlanTensor,
  holder: string,
): void {
  const kinds = new Map<string, string>([
    ...kindsOfAnalyses(plan),
    ...plan.steps.map(({ name, kind }) => [name, kind] as const),
  ])
  const flow = (from: string, to: string, what: string): void =>
    addFlow(edges, ids.get(from), ids.get(to), what, tensor)
  const { modelOf, readBy, origin, readsIn } = originsOf(plan)
  /** Steps can share expressions: each one is visited once per model or step that has it. */
  const walked = new Map<Expr, Set<string>>()

  function walk(expr: Expr, holder: string): void {
    const holders = walked.get(expr) ?? new Set()
    walked.set(expr, holders)
    if (holders.has(holder)) return
    holders.add(holder)
    const noised = expr.kind === 'merge' && isNoise(expr.method)
    switch (expr.kind) {
      case 'read':
        for (const part of readsIn(expr)) walkRead(part, holder)
        return
      case 'crop':
        walk(expr.merge, holder)
        walkBase(expr.base, holder)
        return
      case 'lora': {
        if (!expr.base) return
        walk(expr.base, holder)
        const [adapter, model] = [readBy(expr.right.read), readBy(expr.base)]
        if (adapter !== undefined && model !== undefined) flow(adapter, model, 'lora')
        return
      }
      case 'constant':
      case 'computed':
      case 'core':
      case 'factor':
        walkInputs(inputsOf(expr), expr.step, holder, howMade(expr, kinds))
        return
      case 'merge':
        for (const [i, input] of expr.inputs.entries()) {
          const name = noised ? undefined : expr.models[i]
          if (name === undefined) continue
          flow(name, holder, isAdapted(expr.method) ? 'lora' : expr.method)
          walk(input, name)
        }
        if (noised) walkInputs(expr.inputs, expr.step, holder, expr.method)
        if (expr.base && isAdapted(expr.method)) walk(expr.base, holder)
        else if (expr.base) walkBase(expr.base, holder)
    }
  }
  function walkRead(expr: ReadExpr, holder: string): void {
    const [model, own] = [readBy(expr), modelOf(expr)]
    if (model === undefined) return
    flow(model, holder, 'copied')
    if (own !== undefined && own !== model) flow(own, model, kinds.get(model) ?? 'copied')
  }
  function walkBase(base: Expr, holder: string): void {
    const from = origin(base)
    if (from === undefined) return
    flow(from, holder, 'base')
    walk(base, from)
  }
  function walkInputs(inputs: readonly Expr[], step: string, holder: string, how: string): void {
    for (const input of inputs.flatMap((one): readonly Expr[] => (one.kind === 'read' ? readsIn(one) : [one]))) {
      const from = origin(input)
      if (from === undefined) continue
      flow(from, step, how)
      walk(input, from)
    }
    if (step !== holder) flow(step, holder, how)
  }
  walk(tensor.expr, holder)
}
