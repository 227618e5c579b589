/** The recipe's graph, from the lineage: models, steps and the output, and the tensors that flow between them. */
import { counted } from '../../../../core/words.js'
import type { PathSummary } from '../../../path/summary.js'
import { stepLine } from '../../../steps.js'
import type { Lineage, LineageMerge, LineageSource, LineageStep } from '../../../types.js'
import type { Colours } from '../data.js'
import { short } from '../numbers.js'
import { stepId } from '../rules.js'

export interface GraphNode {
  readonly kind: 'model' | 'step' | 'output'
  readonly title: string
  readonly lines: readonly string[]
  readonly href: string
  /** Number of a colour; undefined for the output. */
  readonly colour?: number
}

export interface GraphEdge {
  readonly from: number
  readonly to: number
  readonly label: string
  /** The step only looks at this model: no tensor of it flows. */
  readonly looks: boolean
}

export interface Graph {
  readonly nodes: readonly GraphNode[]
  readonly edges: readonly GraphEdge[]
}

/** What flows between names: by both ends, how many tensors by method. */
class Flows {
  readonly edges = new Map<string, { from: string; to: string; what: Map<string, number> }>()
  /** By step, how many tensors it made by method. */
  readonly made = new Map<string, Map<string, number>>()

  private add(from: string, to: string, what: string): void {
    if (from === to) return
    const key = `${from}\0${to}`
    const edge = this.edges.get(key) ?? { from, to, what: new Map() }
    this.edges.set(key, edge)
    edge.what.set(what, (edge.what.get(what) ?? 0) + 1)
  }

  /** Readers of lineages refuse deeper ones, so the walk ends. */
  walk(step: string, { method, sources, base }: LineageMerge): void {
    const own = this.made.get(step) ?? new Map<string, number>()
    this.made.set(step, own)
    own.set(method, (own.get(method) ?? 0) + 1)
    const follow = (source: LineageSource, what: string): void => {
      this.add(source.model, step, what)
      if (source.of) this.walk(source.model, source.of)
    }
    for (const source of sources) follow(source, method === 'copy' ? 'copied' : method)
    if (base) follow(base, 'base')
  }
}

const countsText = (counts: ReadonlyMap<string, number>): string =>
  [...counts].map(([name, count]) => `${name === 'copy' ? 'copied' : name} ${count}`).join(', ')

/** What a step did, in a few words. */
function resultOf(name: string, step: LineageStep, made: ReadonlyMap<string, number> | undefined): string {
  if (step.kind === 'tokenizer') return `${counted(step.tokens, 'token')}, ${step.added} added`
  const line = stepLine(name, step)
  // The node already has the names.
  if (line !== undefined) return line.slice(line.indexOf(': ') + 2)
  return made ? countsText(made) : ''
}

/** The names that a step uses, as its record lists them. */
const usedBy = (step: LineageStep): readonly string[] =>
  Array.isArray(step.models) ? step.models : Object.keys(step.models)

/** Lines of the output's node. */
const MOST_LINES = 6

function outputLines({ output, evaluations }: Lineage): string[] {
  const figures = Object.entries(evaluations ?? {}).map(([name, value]) => `${name} ${short(value)}`)
  const at = output.point ? [`t = ${short(output.point.t)}`] : []
  return [counted(output.tensors, 'tensor'), ...at, ...figures].slice(0, MOST_LINES)
}

function pathLines({ points, barriers, drops }: PathSummary): string[] {
  const found = [barriers, drops].flatMap((table, index) =>
    Object.entries(table).map(
      ([name, { height }]) => `${index === 0 ? 'barrier' : 'drop'} of ${name} ${short(height)}`,
    ),
  )
  return [counted(points.length, 'point'), ...found].slice(0, MOST_LINES)
}

/** `curve`: the output is a whole path. */
export function graphOf(lineage: Lineage, title: string, colours: Colours, curve?: PathSummary): Graph {
  const { output } = lineage
  const flows = new Flows()
  for (const tensor of Object.values(lineage.tensors)) {
    flows.walk(output.from, tensor)
    for (const part of tensor.parts ?? []) flows.walk(part.model, part)
  }
  const nodes: GraphNode[] = []
  const places = new Map<string, number>()
  const models = Object.entries(lineage.models).sort(([, a], [, b]) => a.index - b.index)
  for (const [name, { reference }] of models)
    places.set(
      name,
      nodes.push({
        kind: 'model',
        title: name,
        lines: name === reference ? [] : [reference],
        href: '#models',
        colour: colours.ofName(name),
      }) - 1,
    )
  for (const [index, [name, step]] of Object.entries(lineage.steps).entries()) {
    const result = resultOf(name, step, flows.made.get(name))
    const lines = [...(name === step.kind ? [] : [step.kind]), ...(result === '' ? [] : [result])]
    places.set(
      name,
      nodes.push({ kind: 'step', title: name, lines, href: `#${stepId(index)}`, colour: colours.ofName(name) }) - 1,
    )
  }
  const lines = curve ? pathLines(curve) : outputLines(lineage)
  const end = nodes.push({ kind: 'output', title, lines, href: curve ? '#evaluations' : '#tensors' }) - 1
  return { nodes, edges: edgesOf(lineage, flows, places, end) }
}

function edgesOf(
  { steps, output }: Lineage,
  flows: Flows,
  places: ReadonlyMap<string, number>,
  end: number,
): GraphEdge[] {
  const edges: GraphEdge[] = []
  for (const { from, to, what } of flows.edges.values()) {
    const [a, b] = [places.get(from), places.get(to)]
    if (a !== undefined && b !== undefined) edges.push({ from: a, to: b, label: countsText(what), looks: false })
  }
  for (const [name, step] of Object.entries(steps)) {
    const to = places.get(name)!
    for (const used of usedBy(step)) {
      const from = places.get(used)
      if (from !== undefined && from !== to && !flows.edges.has(`${used}\0${name}`))
        edges.push({ from, to, label: '', looks: true })
    }
    if (step.kind === 'tokenizer') edges.push({ from: to, to: end, label: 'vocabulary', looks: false })
  }
  const last = places.get(output.from)
  if (last !== undefined) edges.push({ from: last, to: end, label: '', looks: false })
  return edges
}

/** The longest way from a start to each node. A lineage with a cycle would be wrong: its edges back count as none. */
export function ranksOf({ nodes, edges }: Graph): number[] {
  const into = nodes.map((_, index) => edges.filter(({ to }) => to === index).map(({ from }) => from))
  const ranks = new Map<number, number>()
  const visit = (node: number, way: ReadonlySet<number>): number => {
    const known = ranks.get(node)
    if (known !== undefined) return known
    const inside = new Set(way).add(node)
    const rank = into[node]!.filter((from) => !inside.has(from)).reduce(
      (most, from) => Math.max(most, visit(from, inside) + 1),
      0,
    )
    ranks.set(node, rank)
    return rank
  }
  return nodes.map((_, index) => visit(index, new Set()))
}
