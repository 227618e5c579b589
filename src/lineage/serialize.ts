import { createHash } from 'node:crypto'
import type {
  Lineage,
  LineageFile,
  LineageMerge,
  LineageModel,
  LineagePart,
  LineageSource,
  LineageTensor,
} from './types.js'

type Entries = readonly (readonly [key: string, text: string])[]

const codeUnits = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

/** Keys in code-unit order. JavaScript's own order puts names such as `10` first. */
export const sortedKeys = (record: object): string[] => Object.keys(record).sort(codeUnits)

const join = (open: string, parts: readonly string[], close: string): string => `${open}${parts.join(', ')}${close}`

/** JSON on one line with sorted keys. */
function inline(value: unknown): string {
  if (Array.isArray(value)) return join('[', value.map(inline), ']')
  if (typeof value === 'object' && value !== null) {
    const record = value as Readonly<Record<string, unknown>>
    return fixed(sortedKeys(record).map((key) => [key, inline(record[key])]))
  }
  if (typeof value === 'number' && !Number.isFinite(value)) throw new Error(`internal: ${value} in a lineage`)
  return JSON.stringify(value)
}

/** An object on one line, in the given order, without entries whose text is empty. */
const fixed = (entries: Entries): string =>
  join(
    '{',
    entries.filter(([, text]) => text !== '').map(([key, text]) => `${JSON.stringify(key)}: ${text}`),
    '}',
  )

/** An optional value: empty if it is undefined. */
const maybe = (value: unknown): string => (value === undefined ? '' : inline(value))

const fileText = (file: LineageFile): string =>
  fixed([
    ['name', inline(file.name)],
    ['size', inline(file.size)],
    ['digest', inline(file.digest)],
    ['sha256', maybe(file.sha256)],
    ['sha256_from', maybe(file.sha256_from)],
    ['etag', maybe(file.etag)],
  ])

const sourceText = (source: LineageSource): string =>
  fixed([
    ['model', inline(source.model)],
    ['tensor', inline(source.tensor)],
    ['weight', inline(source.weight)],
    ['format', maybe(source.format)],
    ['of', source.of ? fixed(mergeEntries(source.of)) : ''],
  ])

const mergeEntries = (merge: LineageMerge): Entries => [
  ['method', inline(merge.method)],
  ['parameters', inline(merge.parameters)],
  ['sources', join('[', merge.sources.map(sourceText), ']')],
  ['base', merge.base ? sourceText(merge.base) : ''],
  [
    'cropped',
    merge.cropped
      ? fixed([
          ['rows', inline(merge.cropped.rows)],
          ['models', inline(merge.cropped.models)],
        ])
      : '',
  ],
]

const partText = (part: LineagePart): string =>
  fixed([['model', inline(part.model)], ['tensor', inline(part.tensor)], ...mergeEntries(part)])

const tensorText = (tensor: LineageTensor): string =>
  fixed([
    ...mergeEntries(tensor),
    ['parts', tensor.parts ? join('[', tensor.parts.map(partText), ']') : ''],
    ['dtype', inline(tensor.dtype)],
    ['shape', inline(tensor.shape)],
    ['digest', inline(tensor.digest)],
    ['quantized', maybe(tensor.quantized)],
    ['reason', maybe(tensor.reason)],
    [
      'absent',
      tensor.absent
        ? join(
            '[',
            tensor.absent.map(({ model, reason }) =>
              fixed([
                ['model', inline(model)],
                ['reason', inline(reason)],
              ]),
            ),
            ']',
          )
        : '',
    ],
    ['non_finite', maybe(tensor.non_finite)],
    ['notes', maybe(tensor.notes)],
  ])

/** An object over several lines, indented by two spaces below `indent`. */
function block(indent: string, entries: Entries): string {
  const shown = entries.filter(([, text]) => text !== '')
  if (shown.length === 0) return '{}'
  return `{\n${shown.map(([key, text]) => `${indent}  ${JSON.stringify(key)}: ${text}`).join(',\n')}\n${indent}}`
}

const list = (indent: string, items: readonly string[]): string =>
  items.length === 0 ? '[]' : `[\n${items.map((item) => `${indent}  ${item}`).join(',\n')}\n${indent}]`

const modelText = (model: LineageModel): string =>
  block('    ', [
    ['index', inline(model.index)],
    ['reference', inline(model.reference)],
    ['revision', maybe(model.revision)],
    ['quantized', maybe(model.quantized)],
    ['config', maybe(model.config)],
    ['layouts', maybe(model.layouts)],
    ['readAs', maybe(model.readAs)],
    ['license', maybe(model.license)],
    ['lineage', maybe(model.lineage)],
    ['files', list('      ', model.files.map(fileText))],
    ['beside', model.beside ? list('      ', model.beside.map(fileText)) : ''],
  ])

const named = <T>(record: Readonly<Record<string, T>>, text: (value: T) => string): string =>
  block(
    '  ',
    sortedKeys(record).map((key) => [key, text(record[key]!)]),
  )

/** A lineage without its tensors. */
export type LineageFrame = Omit<Lineage, 'tensors'>

/** Tensors by name, in the code-unit order of names. */
export type TensorEntries = Iterable<readonly [name: string, tensor: LineageTensor]>

/** Characters per yielded piece. */
const PIECE = 1 << 18

/**
 * The canonical text of a lineage: the same lineage gives the same bytes. Fixed keys are in the order of the type, names in
 * code-unit order, and each tensor and file on its own line, so that lineages of 10,000 tensors can be compared
 * line by line. Throws an internal error for NaN and infinities.
 */
export const lineageText = (lineage: Lineage): string => [...lineagePieces(lineage, entriesOf(lineage))].join('')

/** `sha256:…` of that text. */
export function lineageDigest(lineage: Lineage): string {
  const hash = createHash('sha256')
  for (const piece of lineagePieces(lineage, entriesOf(lineage))) hash.update(piece)
  return `sha256:${hash.digest('hex')}`
}

function* entriesOf({ tensors }: Pick<Lineage, 'tensors'>): Generator<readonly [string, LineageTensor]> {
  for (const name of sortedKeys(tensors)) yield [name, tensors[name]!]
}

/** The same text in pieces: for a million tensors it is too long for one string. */
export function* lineagePieces(lineage: LineageFrame, tensors: TensorEntries): Generator<string> {
  const members = (entries: Entries): string =>
    entries
      .filter(([, text]) => text !== '')
      .map(([key, text]) => `  ${JSON.stringify(key)}: ${text}`)
      .join(',\n')
  let held = `{\n${members(before(lineage))},\n  "tensors": {`
  let first = true
  for (const [name, tensor] of tensors) {
    held += `${first ? '\n' : ',\n'}    ${JSON.stringify(name)}: ${tensorText(tensor)}`
    first = false
    if (held.length < PIECE) continue
    yield held
    held = ''
  }
  yield `${held}${first ? '}' : '\n  }'},\n${members(after(lineage))}\n}\n`
}

/** The members before the tensors. */
function before(lineage: LineageFrame): Entries {
  const { recipe } = lineage
  return [
    ['terge', inline(lineage.terge)],
    ['lineage', inline(lineage.lineage)],
    [
      'recipe',
      block('  ', [
        ['text', inline(recipe.text)],
        ['digest', inline(recipe.digest)],
        ['set', inline(recipe.set)],
      ]),
    ],
    ['plan', block('  ', [['digest', inline(lineage.plan.digest)]])],
    ['seed', inline(lineage.seed)],
    ['models', named(lineage.models, modelText)],
    ['steps', named(lineage.steps, inline)],
  ]
}

/** The members after the tensors. */
function after({ output, evaluations }: LineageFrame): Entries {
  return [
    [
      'output',
      block('  ', [
        ['from', inline(output.from)],
        [
          'point',
          output.point
            ? fixed([
                ['name', inline(output.point.name)],
                ['t', inline(output.point.t)],
              ])
            : '',
        ],
        ['dropped', maybe(output.dropped)],
        ['models', maybe(output.models)],
        ['files', list('    ', output.files.map(fileText))],
        ['tensors', inline(output.tensors)],
        ['digest', inline(output.digest)],
        ['permutations', maybe(output.permutations)],
      ]),
    ],
    ['evaluations', evaluations ? named(evaluations, inline) : ''],
  ]
}
