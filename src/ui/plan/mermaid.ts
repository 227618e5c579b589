import { type Plan, planGraph } from '../../index.js'

/**
 * Mermaid reads labels as HTML and, between backticks, as Markdown. Every character that could be markup in either is written as
 * `#code;`, which Mermaid turns back into the character.
 */
const escaped = (text: string): string =>
  text.replace(/[^\p{L}\p{N} .,:_/()+=@-]/gu, (mark) => `#${mark.codePointAt(0)};`)
const quote = (lines: readonly string[]): string => `"${lines.map(escaped).join('<br>')}"`

const BRACKETS = { model: ['[', ']'], step: ['(', ')'], output: ['[[', ']]'] } as const

/** The plan's graph for Mermaid, which code hosts show in Markdown. */
export function planMermaid(plan: Plan): string {
  const { nodes, edges } = planGraph(plan)
  return [
    'flowchart LR',
    ...nodes.map(({ id, kind, lines }) => `  ${id}${BRACKETS[kind][0]}${quote(lines)}${BRACKETS[kind][1]}`),
    ...edges.map(({ from, to, label }) => `  ${from} -->|${quote([label])}| ${to}`),
  ].join('\n')
}
