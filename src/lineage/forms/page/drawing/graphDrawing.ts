/** Draws a graph: from left to right where there is room, else as one column with arcs beside it. */
import { escapeHtml } from '../html.js'
import type { Graph, GraphNode } from './graph.js'
import { ranksOf } from './graph.js'
import { at, clipped, drawing, NARROW, text, wrapped } from './svg.js'

const NODE = 180
const GAP = 122
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

/** A graph in columns. Edges over several columns pass through places of their own, so that no box is in their way. */
interface Columns {
  /** Nodes and passages. Passages have the numbers after the nodes. */
  readonly columns: readonly (readonly number[])[]
  /** By edge: its passages, in order. */
  readonly passages: readonly (readonly number[])[]
}

function columnsOf(graph: Graph): Columns {
  const ranks = ranksOf(graph)
  const columns: number[][] = []
  const into = new Map<number, number[]>()
  const add = (rank: number, node: number): void => {
    columns[rank] ??= []
    columns[rank].push(node)
  }
  for (const [node, rank] of ranks.entries()) add(rank, node)
  let next = graph.nodes.length
  const passages = graph.edges.map(({ from, to }) => {
    const own: number[] = []
    for (let rank = ranks[from]! + 1; rank < ranks[to]!; rank++) {
      own.push(next)
      add(rank, next++)
    }
    for (const [index, node] of [...own, to].entries())
      into.set(node, [...(into.get(node) ?? []), index === 0 ? from : own[index - 1]!])
    return own
  })
  // What a column has in common with the one before decides its order.
  const place = new Map<number, number>()
  for (const column of columns) {
    const centre = (node: number): number => {
      const from = (into.get(node) ?? []).flatMap((one) => place.get(one) ?? [])
      return from.length === 0 ? Number.POSITIVE_INFINITY : from.reduce((sum, one) => sum + one, 0) / from.length
    }
    const centres = new Map(column.map((node) => [node, centre(node)]))
    column.sort((a, b) => (centres.get(a) === centres.get(b) ? a - b : centres.get(a)! - centres.get(b)!))
    for (const [index, node] of column.entries()) place.set(node, index - (column.length - 1) / 2)
  }
  return { columns, passages }
}

interface Placed {
  readonly x: number
  readonly y: number
  readonly height: number
  readonly lines: readonly string[]
}

const arrow = (x: number, y: number): string => `<path class="arrow" d="M${at(x)} ${at(y)}l-7 -4v8z"/>`

const PASSAGE: Omit<Placed, 'x' | 'y'> = { height: 4, lines: [] }
const BETWEEN = 18

/** The places of nodes and passages, and the height of all. */
function placesOf({ nodes, edges }: Graph, { columns }: Columns): { placed: Map<number, Placed>; height: number } {
  const sizes = nodes.map((node, index) => {
    const lines = nodeLines(node, 27)
    const inputs = edges.filter(({ to }) => to === index).length
    return { lines, height: heightOf(lines, inputs * 17 + 8) }
  })
  const sizeOf = (node: number): Omit<Placed, 'x' | 'y'> => sizes[node] ?? PASSAGE
  const heights = columns.map((column) => column.reduce((sum, node) => sum + sizeOf(node).height + BETWEEN, -BETWEEN))
  const tallest = Math.max(...heights)
  const placed = new Map<number, Placed>()
  for (const [rank, column] of columns.entries()) {
    let y = (tallest - heights[rank]!) / 2 + 6
    for (const node of column) {
      placed.set(node, { x: rank * (NODE + GAP) + 1, y, ...sizeOf(node) })
      y += sizeOf(node).height + BETWEEN
    }
  }
  return { placed, height: tallest + 12 }
}

function leftToRight(graph: Graph, all: Columns): { width: number; draw: () => string } {
  const { nodes, edges } = graph
  const width = all.columns.length * NODE + (all.columns.length - 1) * GAP + 2
  const curve = (x1: number, y1: number, x2: number, y2: number): string => {
    const bend = Math.max(30, (x2 - x1) / 2)
    return `C${at(x1 + bend)} ${at(y1)} ${at(x2 - bend)} ${at(y2)} ${at(x2)} ${at(y2)}`
  }
  const draw = (): string => {
    const { placed, height } = placesOf(graph, all)
    const middle = ({ y, height }: Placed): number => y + height / 2
    const lines = nodes.flatMap((_, node) => {
      const target = placed.get(node)!
      // An edge ends above another one if it comes from above it.
      const order = edges
        .map((edge, index) => ({ edge, ways: all.passages[index]!.map((way) => placed.get(way)!) }))
        .filter(({ edge }) => edge.to === node)
        .map(({ edge, ways }) => ({ edge, ways, source: placed.get(edge.from)! }))
        .sort((a, b) => middle(a.ways.at(-1) ?? a.source) - middle(b.ways.at(-1) ?? b.source))
      return order.map(({ edge, ways, source }, index) => {
        let [x, y] = [source.x + NODE, middle(source)]
        let path = `M${at(x)} ${at(y)}`
        for (const way of ways) {
          path += `${curve(x, y, way.x, middle(way))}h${NODE}`
          ;[x, y] = [way.x + NODE, middle(way)]
        }
        const [x2, y2] = [target.x - 1, target.y + ((index + 1) * target.height) / (order.length + 1)]
        const flow = `<path class="flow${edge.looks ? ' looks' : ''}" d="${path}${curve(x, y, x2 - 6, y2)}"/>`
        const label = edge.label === '' ? '' : text(x2 - 10, y2 - 4, clipped(edge.label, 19), 'end halo')
        return `${flow}${arrow(x2, y2)}${label}`
      })
    })
    const boxes = nodes.map((node, index) => {
      const { x, y, height, lines } = placed.get(index)!
      return box(node, x, y, NODE, height, lines)
    })
    return drawing(width, height, 'the recipe as a graph', lines.join('') + boxes.join(''), true)
  }
  return { width, draw }
}

/** Arcs on the left connect nodes in one column; each node names what it comes from. */
function oneColumn({ nodes, edges }: Graph, { columns }: Columns): string {
  const order = columns.flat().filter((node) => node < nodes.length)
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

/** Widths of drawings, and the classes of those and of the column that replaces them in a narrower window. */
const CLASSES = [
  [712, 'wide', 'narrow'],
  [852, 'wider', 'medium'],
  [1092, 'widest', 'smaller'],
] as const

/** The graph as markup. */
export function graphDrawing(graph: Graph): string {
  if (graph.nodes.length > MOST) return ''
  const all = columnsOf(graph)
  const wide = leftToRight(graph, all)
  const column = oneColumn(graph, all)
  const fit = CLASSES.find(([most]) => wide.width <= most)
  if (!fit) return `<div class="graph">${column}</div>`
  return `<div class="graph"><div class="${fit[1]}">${wide.draw()}</div><div class="${fit[2]}">${column}</div></div>`
}
