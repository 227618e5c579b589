import { type Plan, planGraph } from '../../index.js'

/** In a quoted string of the dot language, only quotes and backslashes are special. */
const escaped = (text: string): string => text.replace(/["\\]/g, '\\$&')
const quote = (lines: readonly string[]): string => `"${lines.map(escaped).join('\\n')}"`

const SHAPES = { model: 'box', step: 'ellipse', output: 'note' } as const

/** The plan's graph for Graphviz. */
export function planDot(plan: Plan): string {
  const { nodes, edges } = planGraph(plan)
  return [
    'digraph plan {',
    '  rankdir=LR',
    ...nodes.map(({ id, kind, lines }) => `  ${id} [shape=${SHAPES[kind]}, label=${quote(lines)}]`),
    ...edges.map(({ from, to, label }) => `  ${from} -> ${to} [label=${quote([label])}]`),
    '}',
  ].join('\n')
}
