/** Differences in words, for the terminal and for Markdown. */
import { type Runs, runsText } from '../../core/collections/runs.js'
import { formatSize } from '../../core/sizes.js'
import { counted, formatCount } from '../../core/words.js'
import type { Change, Difference, FileChange, NamedChange, OutputDifference, Range, TensorGroup } from '../../index.js'

/** How words and quoted names are written. */
export interface Voice {
  /** A name or a value of a model or recipe, which is not trusted. */
  readonly quoted: (text: string) => string
}

type Value = NonNullable<Change['a']> | null

const isRange = (value: Value): value is Range =>
  typeof value === 'object' && value !== null && 'from' in value && 'to' in value && Object.keys(value).length === 2

const numberText = (value: number): string => String(Number(value.toPrecision(6)))

function valueText(value: Value): string {
  if (typeof value === 'string') return value
  if (typeof value === 'number') return numberText(value)
  if (isRange(value)) return `${numberText(value.from)} … ${numberText(value.to)}`
  return JSON.stringify(value)
}

/** Changes without values, as sentences. */
const WITHOUT_VALUES: Readonly<Record<string, string>> = {
  content: 'other files',
  computation: 'computed in another way',
  bytes: 'other bytes, although recipe and inputs are the same',
  header: 'other header',
}

/** `weight of math 0.5 → 0.7`. */
export function changeText({ what, of, a, b }: Change, { quoted }: Voice): string {
  const name = of === undefined ? quoted(what) : `${quoted(what)} of ${quoted(of)}`
  const [before, after] = [a, b].map((value) => (value === undefined ? undefined : quoted(valueText(value))))
  if (before !== undefined && after !== undefined) return `${name} ${before} → ${after}`
  if (after !== undefined) return `${name} ${after}, new`
  if (before !== undefined) return `${name} ${before}, removed`
  const words = WITHOUT_VALUES[what]
  return words === undefined ? `${name} differs` : of === undefined ? words : `${words} of ${quoted(of)}`
}

/** `layers 0–31`. */
export function layersText(runs: Runs | undefined): string {
  if (!runs) return ''
  const text = runsText(runs)
  return runs.length === 1 && runs[0]![0] === runs[0]![1] ? `layer ${text}` : `layers ${text}`
}

export const SIGNS = { added: '+', removed: '-', changed: '~', renamed: '~', remade: '=', unknown: '?' } as const

/** Digits of a commit, as GitHub shows it. */
export const SHORT = 7

/** The commit of a side whose name does not say it. */
export const unsaidCommit = ({ name, commit }: Difference['a']): string | undefined =>
  commit !== undefined && name.startsWith(commit.slice(0, SHORT)) ? undefined : commit

/** The whole result in a sentence. */
export function verdict({ bytes, outputs, kind, a }: Difference): string {
  if (bytes === 'same')
    return kind === 'plan' ? 'the bytes will be the same' : 'all tensors and files have the same bytes'
  if (bytes === 'same-for-same-inputs') return 'the bytes will be the same if the models’ files are'
  if (bytes === 'unknown') return 'it is not known whether the bytes will be the same'
  if (outputs.length === 0) return `everything is new: ${a.name} has nothing to compare with`
  const all = outputs.reduce((sum, { tensors }) => sum + countOf(tensors), 0)
  const groups = outputs.flatMap((output) => output.groups.filter(({ state }) => state !== 'remade'))
  const differing = groups.reduce((sum, { tensors }) => sum + tensors, 0)
  const size = groups.reduce((sum, { bytes }) => sum + bytes, 0)
  if (outputs.every(({ state }) => state === 'added'))
    return `everything is new: ${counted(all, 'tensor')}, ${formatSize(size)}`
  if (differing === 0) return 'the bytes of files differ; all tensors are the same'
  return `the bytes ${kind === 'plan' ? 'will differ' : 'differ'}: ${formatCount(differing)} of ${counted(all, 'tensor')}, ${formatSize(size)}`
}

const countOf = ({ same, changed, added, removed, unknown }: OutputDifference['tensors']): number =>
  same + changed + added + removed + unknown

const STATES: Readonly<Record<TensorGroup['state'], string>> = {
  changed: '',
  added: 'new',
  removed: 'removed',
  remade: 'made in another way, with the same bytes',
  unknown: 'not known whether the bytes are the same',
}

/** `224 tensors, 12.3 GB: weight of math 0.5 → 0.7`. */
export function groupText({ state, tensors, bytes, changes }: TensorGroup, voice: Voice): string {
  const what = [
    ...(STATES[state] === '' ? [] : [STATES[state]]),
    ...changes.slice(0, MOST_CHANGES).map((change) => changeText(change, voice)),
    ...(changes.length > MOST_CHANGES ? [`${changes.length - MOST_CHANGES} more changes`] : []),
  ]
  return `${counted(tensors, 'tensor')}, ${formatSize(bytes)}: ${what.join('; ')}`
}

const MOST_CHANGES = 12

export function namedText({ name, state, was, changes }: NamedChange, voice: Voice): string {
  const renamed = was === undefined ? '' : `, which was ${voice.quoted(was)}`
  const shown =
    state === 'added' || state === 'removed' ? changes.filter(({ what }) => TELLING.includes(what)) : changes
  const values = shown
    .slice(0, MOST_CHANGES)
    .map((change) =>
      state === 'added' || state === 'removed'
        ? voice.quoted(valueText(change.b ?? change.a ?? ''))
        : changeText(change, voice),
    )
  return `${voice.quoted(name)}${renamed}${values.length > 0 ? `: ${values.join('; ')}` : ''}`
}

/** What says most of a model or step that comes or goes. */
const TELLING = ['reference', 'revision', 'kind']

export function fileText({ name, state, changes }: FileChange, voice: Voice): string {
  const known = state === 'unknown' ? ['not known whether it is the same'] : []
  const shown = changes.slice(0, MOST_CHANGES).map((change) => changeText(change, voice))
  const more = changes.length > MOST_CHANGES ? [`${changes.length - MOST_CHANGES} more changes`] : []
  const all = [...known, ...shown, ...more]
  return `${voice.quoted(name)}${all.length > 0 ? `: ${all.join('; ')}` : ''}`
}

/** `merged, 13.5 GB → 13.2 GB`. */
export function outputText({ path, state, was, size, bytes }: OutputDifference, voice: Voice): string {
  const sizes = [size.a, size.b].flatMap((one) => (one === undefined ? [] : [formatSize(one)]))
  const both = [...new Set(sizes)].join(' → ')
  const moved = was === undefined ? '' : `, which was ${voice.quoted(was)}`
  const same = bytes === 'same' ? ', same bytes' : ''
  return `${voice.quoted(path)}${moved}, ${both}${state === 'added' ? ', new' : state === 'removed' ? ', removed' : same}`
}
