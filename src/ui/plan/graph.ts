import { counted } from '../../core/words.js'
import { type Expr, lastFinding, mainStored, type Plan, type PlanTensor, type ReadExpr } from '../../index.js'
import { printable } from '../text.js'

/** The plan as a graph: models, steps and outputs, and what flows between them. */
export interface PlanGraph {
  readonly nodes: readonly {
    /** Safe in every graph language: `n0`, `n1`, … */
    readonly id: string
    readonly kind: 'model' | 'step' | 'output'
    readonly lines: readonly string[]
  }[]
  readonly edges: readonly { readonly from: string; readonly to: string; readonly label: string }[]
}

/** Node and edge texts are printable but not escaped for any language. */
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
  const kinds = new Map(plan.steps.map(({ name, kind }) => [name, kind]))
  for (const { name, kind } of plan.steps) node(name, 'step', name === kind ? [name] : [name, kind])

  const edges = new Map<string, { from: string; to: string; what: Map<string, Set<PlanTensor>> }>()
  const flow = (from: string, to: string, what: string, tensor: PlanTensor): void => {
    const [fromId, toId] = [ids.get(from), ids.get(to)]
    if (fromId === undefined || toId === undefined || fromId === toId) return
    const key = `${fromId} ${toId}`
    const edge = edges.get(key) ?? { from: fromId, to: toId, what: new Map<string, Set<PlanTensor>>() }
    edges.set(key, edge)
    edge.what.set(what, (edge.what.get(what) ?? new Set()).add(tensor))
  }
  /** The model or step that `expr` comes from. */
  const origin = (expr: Expr): string | undefined =>
    expr.kind === 'read' ? readBy(expr) : expr.kind === 'lora' ? readBy(expr.base) : expr.step

  const readBy = (expr: ReadExpr): string | undefined => lastFinding(expr.view)?.step ?? modelOf(expr)

  const modelOf = ({ view }: ReadExpr): string | undefined =>
    plan.models[plan.files[mainStored(view).file]?.model ?? -1]?.name

  /** Of the tensor under way, who holds a part: steps may share parts. */
  const walked = new Map<Expr, Set<string>>()
  /** What makes `expr`, which is the tensor as `holder`, a model or step, has it. */
  const walk = (expr: Expr, holder: string, tensor: PlanTensor): void => {
    const holders = walked.get(expr) ?? new Set()
    walked.set(expr, holders)
    if (holders.has(holder)) return
    holders.add(holder)
    if (expr.kind === 'read') {
      const model = origin(expr)
      if (model !== undefined) flow(model, holder, 'copied', tensor)
      const own = modelOf(expr)
      if (model !== undefined && own !== undefined && own !== model)
        flow(own, model, kinds.get(model) ?? 'copied', tensor)
      return
    }
    if (expr.kind === 'crop') {
      walk(expr.merge, holder, tensor)
      const base = origin(expr.base)
      if (base === undefined) return
      flow(base, holder, 'base', tensor)
      walk(expr.base, base, tensor)
      return
    }
    if (expr.kind === 'lora') {
      walk(expr.base, holder, tensor)
      const [adapter, model] = [readBy(expr.right.read), readBy(expr.base)]
      if (adapter !== undefined && model !== undefined) flow(adapter, model, 'lora', tensor)
      return
    }
    if (expr.kind === 'computed' || expr.kind === 'factor') {
      const how = expr.kind === 'factor' ? (kinds.get(expr.step) ?? 'computed') : 'computed'
      for (const input of expr.inputs) {
        const from = origin(input)
        if (from === undefined) continue
        flow(from, expr.step, how, tensor)
        walk(input, from, tensor)
      }
      if (expr.step !== holder) flow(expr.step, holder, how, tensor)
      return
    }
    for (const [i, input] of expr.inputs.entries()) {
      const name = expr.models[i]
      if (name === undefined) continue
      flow(name, holder, expr.method, tensor)
      walk(input, name, tensor)
    }
    const base = expr.base && origin(expr.base)
    if (expr.base === undefined || base === undefined) return
    flow(base, holder, 'base', tensor)
    walk(expr.base, base, tensor)
  }
  for (const output of plan.outputs) {
    const id = node(`\0output ${nodes.length}`, 'output', [output.path])
    for (const tensor of output.tensors) {
      walked.clear()
      walk(tensor.expr, output.from, tensor)
    }
    const from = ids.get(output.from)
    if (from !== undefined) {
      const all = new Map([['', new Set(output.tensors)]])
      edges.set(`${from} ${id}`, { from, to: id, what: all })
    }
  }
  return {
    nodes,
    edges: [...edges.values()].map(({ from, to, what }) => ({
      from,
      to,
      label: [...what]
        .map(([name, tensors]) => (name === '' ? counted(tensors.size, 'tensor') : `${name} ${tensors.size}`))
        .map(printable)
        .join(', '),
    })),
  }
}
