import type { Plan } from '../../index.js'
import { planGraph } from './graph.js'

/**
 * Mermaid reads labels as HTML and, between backticks, as Markdown: everything that either could take for markup is
 * written as `#code;`, which mermaid turns into the character.
 */
const escaped = (text: string): string =>
  text.replace(/[^\p{L}\p{N} .,:_/()+=@-]/gu, (mark) => `#${mark.codePointAt(0)};`)
const quote = (lines: readonly string[]): string => `"${lines.map(escaped).join('<br>')}"`

const BRACKETS = { model: ['[', ']'], step: ['(', ')'], output: ['[[', ']]'] } as const

/** The plan's graph for Mermaid, as Markdown on code hosts shows it. */
export function planMermaid(plan: Plan): string {
  const { nodes, edges } = planGraph(plan)
  return [
    'flowchart LR',
    ...nodes.map(({ id, kind, lines }) => `  ${id}${BRACKETS[kind][0]}${quote(lines)}${BRACKETS[kind][1]}`),
    ...edges.map(({ from, to, label }) => `  ${from} -->|${quote([label])}| ${to}`),
  ].join('\n')
}
