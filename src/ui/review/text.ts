import { counted } from '../../core/words.js'
import type { Change, Difference, NamedChange, OutputDifference, TensorGroup } from '../../index.js'
import { type Branch, drawTree, wrapped } from '../fit.js'
import { printable } from '../text.js'
import {
  changeText,
  fileText,
  groupText,
  layersText,
  namedText,
  outputText,
  SIGNS,
  unsaidCommit,
  type Voice,
  verdict,
} from './words.js'

const PLAIN: Voice = { quoted: printable }

/** Most places of one group, and most lines of other lists. */
const MOST_PLACES = 12
const MOST_LINES = 40

/** A difference for people. */
export function differenceText(difference: Difference, width: number, inColour: boolean): string {
  const { a, b, notes, unreachable, bytes, models, steps, settings, outputs, recipe } = difference
  const unsaid = unsaidCommit(a)
  const commit = unsaid === undefined ? '' : ` (commit ${unsaid.slice(0, 12)})`
  const branches = [
    ...branch('models', models.map(namedBranch)),
    ...branch('steps', steps.map(namedBranch)),
    ...branch('settings', settings.map(changeBranch)),
    ...outputs.map(outputBranch),
    ...branch('keys of the recipe', recipe.map(changeBranch)),
  ]
  const lines = [
    wrapped(`${printable(b.name)} against ${printable(a.name)}${commit}`, width, '  '),
    paint(wrapped(verdict(difference), width, '  '), bytes === 'same' ? COLOURS['+'] : COLOURS['~'], inColour),
    ...notes.map((note) => wrapped(`note: ${printable(note)}`, width, '  ')),
    ...unreachable.map(({ model, why }) => wrapped(`cannot be opened: ${printable(`${model}: ${why}`)}`, width, '  ')),
  ]
  if (branches.length === 0) return lines.join('\n')
  const [, ...tree] = drawTree({ text: '', branches }, width).split('\n')
  return [...lines, ...tree.map((line) => (inColour ? coloured(line) : line))].join('\n')
}

const COLOURS = {
  '+': '\u001b[32m',
  '-': '\u001b[31m',
  '~': '\u001b[33m',
  '?': '\u001b[35m',
  '=': '\u001b[36m',
} as const
const END = '\u001b[0m'

const paint = (text: string, colour: string, inColour: boolean): string => (inColour ? `${colour}${text}${END}` : text)

/** A line of the tree with its sign in colour. */
const coloured = (line: string): string =>
  line.replace(
    /^([│├└─ ]*─ )([+~?=-])(?= )/,
    (_, lead: string, sign: keyof typeof COLOURS) => `${lead}${COLOURS[sign]}${sign}${END}`,
  )

function branch(text: string, branches: readonly Branch[]): Branch[] {
  if (branches.length === 0) return []
  const shown = branches.slice(0, MOST_LINES)
  const more = branches.length - shown.length
  return [{ text, branches: more > 0 ? [...shown, { text: `and ${more} more` }] : shown }]
}

const namedBranch = (change: NamedChange): Branch => ({ text: `${SIGNS[change.state]} ${namedText(change, PLAIN)}` })
const signOf = ({ a, b }: Change): string =>
  a === undefined && b !== undefined ? '+' : b === undefined && a !== undefined ? '-' : '~'
const changeBranch = (change: Change): Branch => ({ text: `${signOf(change)} ${changeText(change, PLAIN)}` })

function outputBranch(output: OutputDifference): Branch {
  const { groups, files, changes } = output
  const branches = [
    ...groups.map(groupBranch),
    ...files.map((file) => ({ text: `${SIGNS[file.state]} ${fileText(file, PLAIN)}` })),
    ...changes.map(changeBranch),
  ]
  return { text: `output ${outputText(output, PLAIN)}`, branches: branch('', branches)[0]?.branches ?? [] }
}

function groupBranch(group: TensorGroup): Branch {
  const places = group.places.slice(0, MOST_PLACES).map(({ pattern, layers, tensors }) => {
    const where = layersText(layers)
    return {
      text: `${printable(pattern)}${where === '' ? '' : `, ${where}`}${tensors === 1 ? '' : `: ${counted(tensors, 'tensor')}`}`,
    }
  })
  const more = group.places.length - places.length
  return {
    text: `${SIGNS[group.state]} ${groupText(group, PLAIN)}`,
    branches: more > 0 ? [...places, { text: `and ${counted(more, 'more pattern')}` }] : places,
  }
}
