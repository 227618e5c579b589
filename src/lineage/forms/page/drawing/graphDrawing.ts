/** Draws a graph: from left to right where there is room, else as one column with arcs beside it. */
import { escapeHtml } from '../html.js'
import type { Graph, GraphEdge, GraphNode } from './graph.js'
import { ranksOf } from './graph.js'
import { at, clipped, drawing, NARROW, text, wrapped } from './svg.js'

const NODE = 188
const GAP = 106
const LINE = 15
/** Most nodes that are drawn: beyond, lines would only cover each other. */
const MOST = 80

const nodeLines = ({ lines }: GraphNode, characters: number): string[] =>
  lines.flatMap((line, index) => wrapped(line, characters, index === 0 ? 2 : 4))

function box(node: GraphNode, x: number, y: number, width: number, height: number, lines: readonly string[]): string {
  const tint = node.colour === undefined ? '' : ` c${node.colour}`
  const rows = lines.map((line, index) => text(x + 14, y + 37 + index * LINE, line, 'small')).join('')
  return `<a href="${node.href}"><rect class="node ${node.kind}${tint}" x="${at(x)}" y="${at(y)}" width="${width}" height="${at(height)}" rx="8"/><rect class="edge-mark${tint}" x="${at(x)}" y="${at(y + 8)}" width="3" height="${at(height - 16)}" rx="1.5"/>${text(x + 14, y + 20, clipped(node.title, Math.floor((width - 24) / 7.6)), 'strong')}${rows}<title>${escapeHtml([node.title, ...node.lines].join('\n'))}</title></a>`
}

const heightOf = (lines: readonly string[], least = 0): number =>
  Math.max(least, lines.length === 0 ? 32 : 32 + lines.length * LINE + 2)

/** Nodes by rank; those of a rank near the nodes that they come from. */
function columns(graph: Graph): number[][] {
  const ranks = ranksOf(graph)
  const found: number[][] = []
  for (const [node, rank] of ranks.entries()) {
    found[rank] ??= []
    found[rank].push(node)
  }
  const place = new Map<number, number>()
  for (const column of found) {
    const centre = (node: number): number => {
      const from = graph.edges.filter(({ to }) => to === node).flatMap(({ from }) => place.get(from) ?? [])
      return from.length === 0 ? Number.POSITIVE_INFINITY : from.reduce((sum, one) => sum + one, 0) / from.length
    }
    const centres = new Map(column.map((node) => [node, centre(node)]))
    column.sort((a, b) => (centres.get(a) === centres.get(b) ? a - b : centres.get(a)! - centres.get(b)!))
    for (const [index, node] of column.entries()) place.set(node, index - (column.length - 1) / 2)
  }
  return found
}

interface Placed {
  readonly x: number
  readonly y: number
  readonly height: number
  readonly lines: readonly string[]
}

const arrow = (x: number, y: number): string => `<path class="arrow" d="M${at(x)} ${at(y)}l-7 -4v8z"/>`

function leftToRight(graph: Graph, all: readonly number[][]): { width: number; draw: () => string } {
  const width = all.length * NODE + (all.length - 1) * GAP
  const draw = (): string => {
    const { nodes, edges } = graph
    const into = (node: number): GraphEdge[] => edges.filter(({ to }) => to === node)
    const sizes = nodes.map((node, index) => {
      const lines = nodeLines(node, 29)
      return { lines, height: heightOf(lines, into(index).length * 17 + 8) }
    })
    const heights = all.map((column) => column.reduce((sum, node) => sum + sizes[node]!.height + 18, -18))
    const tallest = Math.max(...heights)
    const placed = new Map<number, Placed>()
    for (const [rank, column] of all.entries()) {
      let y = (tallest - heights[rank]!) / 2 + 6
      for (const node of column) {
        placed.set(node, { x: rank * (NODE + GAP) + 1, y, ...sizes[node]! })
        y += sizes[node]!.height + 18
      }
    }
    const lines = nodes.flatMap((_, node) => {
      const target = placed.get(node)!
      const order = into(node).sort((a, b) => placed.get(a.from)!.y - placed.get(b.from)!.y)
      return order.map((edge, index) => {
        const source = placed.get(edge.from)!
        const [x1, y1] = [source.x + NODE, source.y + source.height / 2]
        const [x2, y2] = [target.x - 1, target.y + ((index + 1) * target.height) / (order.length + 1)]
        const bend = Math.max(30, (x2 - x1) / 2)
        const path = `<path class="flow${edge.looks ? ' looks' : ''}" d="M${at(x1)} ${at(y1)}C${at(x1 + bend)} ${at(y1)} ${at(x2 - bend)} ${at(y2)} ${at(x2 - 6)} ${at(y2)}"/>`
        return `${path}${arrow(x2, y2)}${edge.label === '' ? '' : text(x2 - 10, y2 - 4, clipped(edge.label, 18), 'end halo')}`
      })
    })
    const boxes = nodes.map((node, index) => {
      const { x, y, height, lines } = placed.get(index)!
      return box(node, x, y, NODE, height, lines)
    })
    return drawing(width + 2, tallest + 12, 'the recipe as a graph', lines.join('') + boxes.join(''), true)
  }
  return { width, draw }
}

/** Arcs on the left connect nodes in one column; each node names what it comes from. */
function oneColumn({ nodes, edges }: Graph, all: readonly number[][]): string {
  const order = all.flat()
  const left = 46
  const width = NARROW - left - 2
  const placed = new Map<number, Placed>()
  let y = 4
  for (const node of order) {
    const inputs = edges.filter(({ to, label }) => to === node && label !== '')
    const from = inputs.slice(0, 8).map((edge) => `← ${nodes[edge.from]!.title}: ${edge.label}`)
    const lines = [...nodeLines(nodes[node]!, 42), ...from.map((line) => clipped(line, 42))]
    placed.set(node, { x: left, y, height: heightOf(lines), lines })
    y += heightOf(lines) + 16
  }
  const arcs = edges.map(({ from, to, looks }) => {
    const [source, target] = [placed.get(from)!, placed.get(to)!]
    const [y1, y2] = [source.y + source.height / 2, target.y + Math.min(18, target.height / 2)]
    const out = left - Math.min(left - 3, 12 + Math.abs(y2 - y1) / 12)
    return `<path class="flow${looks ? ' looks' : ''}" d="M${left} ${at(y1)}C${at(out)} ${at(y1)} ${at(out)} ${at(y2)} ${left - 6} ${at(y2)}"/>${arrow(left, y2)}`
  })
  const boxes = order.map((node) => {
    const { y, height, lines } = placed.get(node)!
    return box(nodes[node]!, left, y, width, height, lines)
  })
  return drawing(NARROW, y, 'the recipe as a graph', arcs.join('') + boxes.join(''), true)
}

/** Widths of the window from which CSS shows the drawing from left to right. */
const CLASSES = [
  [712, 'wide', 'narrow'],
  [1092, 'larger', 'smaller'],
] as const

/** The graph as markup. */
export function graphDrawing(graph: Graph): string {
  if (graph.nodes.length > MOST) return ''
  const all = columns(graph)
  const wide = leftToRight(graph, all)
  const column = oneColumn(graph, all)
  const fit = CLASSES.find(([most]) => wide.width + 2 <= most)
  if (!fit) return `<div class="graph">${column}</div>`
  return `<div class="graph"><div class="${fit[1]}">${wide.draw()}</div><div class="${fit[2]}">${column}</div></div>`
}
