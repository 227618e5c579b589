/** A difference as Markdown, for a comment on a pull request. Names and values are not trusted: they stand in code spans. */

import { formatSize } from '../../core/sizes.js'
import { formatCount } from '../../core/words.js'
import type { Change, Difference, OutputDifference, TensorGroup } from '../../index.js'
import { printable } from '../text.js'
import {
  changeText,
  fileText,
  groupText,
  layersText,
  namedText,
  outputText,
  SHORT,
  SIGNS,
  unsaidCommit,
  type Voice,
  verdict,
} from './words.js'

/** A code span: nothing in it is markup, a mention or a reference. `|` would end a cell of a table. */
export function code(text: string): string {
  const inner = printable(text).replace(/\|/g, '\\|')
  if (inner.trim() === '') return '` `'
  const fence = '`'.repeat(Math.max(0, ...[...inner.matchAll(/`+/g)].map(([run]) => run.length)) + 1)
  const pad = /^[` ]|[` ]$/.test(inner) ? ' ' : ''
  return `${fence}${pad}${inner}${pad}${fence}`
}

const SPANS: Voice = { quoted: (text) => code(text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text) }
/** Longer values are cut off. */
const LONGEST = 120

/** Most rows of a table and most entries of a list. */
const MOST = 25
const MOST_PLACES = 8

const capital = (text: string): string => text.slice(0, 1).toUpperCase() + text.slice(1)

/** `plan` or not, the first line is a title with the name of the newer side. */
export function differenceMarkdown(difference: Difference): string {
  const { a, b, notes, unreachable, models, steps, settings, outputs, recipe } = difference
  const unsaid = unsaidCommit(a)
  const commit = unsaid === undefined ? '' : ` at ${code(unsaid.slice(0, SHORT))}`
  return `${[
    `### ${code(b.name)}`,
    `**${capital(plain(verdict(difference)))}**, compared with ${code(a.name)}${commit}.`,
    ...notes.map((note) => `> ${plain(note)}`),
    ...unreachable.map(({ model, why }) => `> ${code(model)} cannot be opened: ${plain(why)}`),
    ...section(
      'Models',
      models.map((change) => `${SIGNS[change.state]} ${namedText(change, SPANS)}`),
    ),
    ...section(
      'Steps',
      steps.map((change) => `${SIGNS[change.state]} ${namedText(change, SPANS)}`),
    ),
    ...section(
      'Settings',
      settings.map((change) => changeText(change, SPANS)),
    ),
    ...outputs.flatMap(outputParts),
    ...folded('Keys of the recipe', recipe),
  ].join('\n\n')}\n`
}

/** Text with words of terge and of systems: markup in it is escaped. */
const plain = (text: string): string =>
  printable(text).replace(/[\\`*_{}[\]<>()#|!@~]/g, (mark) => `&#${mark.charCodeAt(0)};`)

const list = (lines: readonly string[]): string => {
  const more = lines.length - MOST
  return [...lines.slice(0, MOST), ...(more > 0 ? [`and ${formatCount(more)} more`] : [])]
    .map((line) => `- ${signed(line)}`)
    .join('\n')
}

/** A sign at the start of an item would be another list. */
const signed = (line: string): string => line.replace(/^([+~=?-]) /, (_, sign: string) => `${code(sign)} `)

const section = (title: string, lines: readonly string[]): string[] =>
  lines.length === 0 ? [] : [`**${title}**`, list(lines)]

function outputParts(output: OutputDifference): string[] {
  const { groups, files, changes } = output
  const rest = [
    ...files.map((file) => `${SIGNS[file.state]} ${fileText(file, SPANS)}`),
    ...changes.map((change) => changeText(change, SPANS)),
  ]
  return [
    `**Output** ${outputText(output, SPANS)}`,
    ...(groups.length > 0 ? [table(groups)] : []),
    ...(rest.length > 0 ? [list(rest)] : []),
  ]
}

function table(groups: readonly TensorGroup[]): string {
  const rows = groups.slice(0, MOST).map((group) => {
    const text = groupText(group, SPANS)
    const what = text.slice(text.indexOf(': ') + 2)
    const cells = [
      code(SIGNS[group.state]),
      formatCount(group.tensors),
      formatSize(group.bytes),
      what,
      placesCell(group),
    ]
    return `| ${cells.join(' | ')} |`
  })
  const more = groups.length - rows.length
  const last = more > 0 ? [`|  |  |  | and ${formatCount(more)} more groups |  |`] : []
  return ['|  | tensors | bytes | what changes | where |', '|---|---:|---:|---|---|', ...rows, ...last].join('\n')
}

function placesCell({ places }: TensorGroup): string {
  const shown = places.slice(0, MOST_PLACES).map(({ pattern, layers }) => {
    const where = layersText(layers)
    return `${code(pattern)}${where === '' ? '' : ` ${where}`}`
  })
  const more = places.length - shown.length
  return [...shown, ...(more > 0 ? [`and ${formatCount(more)} more`] : [])].join('<br>')
}

function folded(title: string, changes: readonly Change[]): string[] {
  if (changes.length === 0) return []
  return [
    `<details><summary>${title}: ${formatCount(changes.length)}</summary>`,
    list(changes.map((change) => changeText(change, SPANS))),
    '</details>',
  ]
}
