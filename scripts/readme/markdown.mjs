/** Rows under a head as a Markdown table. */
export const table = (head, rows) =>
  [head, head.map(() => '---'), ...rows].map((row) => `| ${row.map(cell).join(' | ')} |`).join('\n')

const cell = (text) => text.replaceAll('|', '\\|').replaceAll('\n', ' ')

export const ticks = (text) => `\`${text}\``
