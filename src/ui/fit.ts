/** Text that fits the width of a terminal. Without a terminal there is no limit. */
import { type Column, table } from './text.js'

/** The columns of a stream; unlimited if it is no terminal. */
export const widthOf = ({ columns }: { readonly columns?: number }): number => columns || Number.POSITIVE_INFINITY

/** Words in lines of at most `width` columns. Lines after the first begin with `indent`. Longer words have lines of their own. */
export function wrapped(text: string, width: number, indent: string): string {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line.trimEnd())
      line = indent + word
    } else line = line === '' ? word : `${line} ${word}`
  }
  return [...lines, line].join('\n')
}

/** Lines that are wrapped with the indent that they have, and `more`. */
export const wrappedLines = (text: string, width: number, more = '    '): string =>
  text
    .split('\n')
    .map((line) => {
      const lead = /^ */.exec(line)![0]
      const rest = wrapped(line.slice(lead.length), width - lead.length, more)
      return lead + rest.replaceAll('\n', `\n${lead}`)
    })
    .join('\n')

/** A name in lines of at most `width` columns, broken after dots where it can be. */
function broken(name: string, width: number): string {
  const lines: string[] = []
  let line = ''
  for (const part of name.split(/(?<=\.)/)) {
    const joined = line + part
    if (joined.length <= width) line = joined
    else {
      if (line.trim() !== '') lines.push(line)
      line = `  ${part}`
    }
    while (line.length > width) {
      lines.push(line.slice(0, width))
      line = `  ${line.slice(width)}`
    }
  }
  return [...lines, line].join('\n')
}

/** A table if it fits; otherwise each row as its first cell and, below it, the other cells with their titles. */
export function fitted(columns: readonly Column[], rows: readonly (readonly string[])[], width: number): string {
  const whole = table(columns, rows)
  if (whole.split('\n').every((line) => line.length <= width)) return whole
  return rows
    .map(([first = '', ...cells]) => {
      const facts = cells.flatMap((cell, i) =>
        cell === '' || cell === '-' ? [] : [`${columns[i + 1]!.title.trim()} ${cell}`],
      )
      return `${broken(first.trim(), width)}\n${wrappedLines(`  ${facts.join(', ')}`, width, '')}`
    })
    .join('\n')
}

export interface Branch {
  readonly text: string
  readonly branches?: readonly Branch[]
}

/** Draws a tree with lines, the root flush left. Texts that are too long continue beside the lines. */
export function drawTree(root: Branch, width: number): string {
  const lines = [root.text]
  const draw = (branches: readonly Branch[], lead: string): void => {
    for (const [i, { text, branches: own = [] }] of branches.entries()) {
      const last = i === branches.length - 1
      const below = `${lead}${last ? '  ' : '│ '} `
      const more = own.length > 0 ? '│ ' : '  '
      const [first, ...others] = wrapped(text, width - below.length, more).split('\n')
      lines.push(`${lead}${last ? '└─' : '├─'} ${first}`, ...others.map((line) => below + line))
      draw(own, below)
    }
  }
  draw(root.branches ?? [], '')
  return lines.join('\n')
}
