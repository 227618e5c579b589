import { createHash } from 'node:crypto'
import { naturalOrder } from '../../../core/collections/naturalOrder.js'
import { elements } from '../../../core/dtypes.js'
import type { Json } from '../../../core/json/shape.js'
import { ABSENT_REASONS, COPY_REASONS } from '../../../core/reasons.js'
import { formatSize } from '../../../core/sizes.js'
import { agree, plural } from '../../../core/words.js'
import { sortedKeys } from '../../serialize.js'
import type { Digest, Lineage, LineageFile } from '../../types.js'
import { charts } from './charts.js'
import { pageData } from './data.js'
import { countText, escapeHtml, grouped, scriptJson } from './html.js'
import { SCRIPT } from './script.js'
import { COLOUR_COUNT, STYLE } from './style.js'

const sourceHash = (text: string): string => `'sha256-${createHash('sha256').update(text).digest('base64')}'`

const code = (text: string): string => `<code>${escapeHtml(text)}</code>`
const digestText = (digest: Digest | null): string =>
  digest === null ? '<span class="soft">none</span>' : code(digest)
const card = (value: string, label: string): string => `<div class="card"><b>${value}</b>${label}</div>`

const table = (heads: readonly string[], rows: readonly (readonly string[])[]): string =>
  `<div class="scroll"><table><thead><tr>${heads.map((head) => `<th>${head}</th>`).join('')}</tr></thead><tbody>${rows
    .map((row) => `<tr>${row.map((cell) => `<td>${cell}</td>`).join('')}</tr>`)
    .join('')}</tbody></table></div>`

const bytesOf = (files: readonly LineageFile[]): number => files.reduce((sum, { size }) => sum + size, 0)

/** Counts by key, the largest first. */
function tally<T>(
  items: readonly T[],
  key: (item: T) => string,
  count: (item: T) => number = () => 1,
): [string, number][] {
  const counts = new Map<string, number>()
  for (const item of items) counts.set(key(item), (counts.get(key(item)) ?? 0) + count(item))
  return [...counts].sort(([, a], [, b]) => b - a)
}

function summary(lineage: Lineage, colours: Readonly<Record<string, number>>): string {
  const tensors = Object.values(lineage.tensors)
  const copied = tensors.filter(({ reason }) => reason !== undefined).length
  const parameters = tensors.reduce((sum, { shape }) => sum + elements(shape), 0)
  const shares = tally(
    tensors,
    ({ method }) => method,
    ({ shape }) => elements(shape),
  )
  let at = 0
  const parts = shares.map(([method, count]) => {
    const width = (100 * count) / Math.max(1, parameters)
    at += width
    return `<rect class="f${colours[method]}" x="${(at - width).toFixed(3)}" width="${width.toFixed(3)}" height="4"><title>${escapeHtml(method)}: ${width.toFixed(1)} % of the parameters</title></rect>`
  })
  const legend = shares.map(
    ([method, count]) =>
      `<span class="badge m${colours[method]}">${escapeHtml(method)} ${((100 * count) / Math.max(1, parameters)).toFixed(1)} %</span>`,
  )
  return `<div class="cards">${[
    card(grouped(tensors.length), agree(tensors.length, 'tensor', 'tensors')),
    card(countText(parameters), 'parameters'),
    card(
      formatSize(bytesOf(lineage.output.files)),
      lineage.output.dropped ? 'evaluated, not kept' : `in ${plural(lineage.output.files.length, 'file')}`,
    ),
    card(grouped(tensors.length - copied), 'merged'),
    card(grouped(copied), 'copied'),
    card(grouped(Object.keys(lineage.models).length), agree(Object.keys(lineage.models).length, 'model', 'models')),
  ].join(
    '',
  )}</div><svg class="share" viewBox="0 0 100 4" preserveAspectRatio="none" role="img" aria-label="share of parameters by method">${parts.join('')}</svg><p>${legend.join(' ')}</p>`
}

function models(lineage: Lineage, colourOf: (name: string) => number): string {
  const rows = Object.entries(lineage.models)
    .sort(([, a], [, b]) => a.index - b.index)
    .flatMap(([name, model]) => [
      [
        `<b class="t${colourOf(name)}">${escapeHtml(name)}</b>`,
        code(model.reference) + (model.revision === undefined ? '' : ` at ${code(model.revision)}`),
        formatSize(bytesOf(model.files)),
        model.files.map((file) => `${code(file.name)} ${digestText(file.digest)}`).join('<br>'),
      ],
    ])
  return table(['Name', 'Reference', 'Size', 'Files'], rows)
}

const isRecord = (value: Json): value is Readonly<Record<string, Json>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const isScalar = (value: Json): boolean => typeof value !== 'object' || value === null

/** Six digits are enough to compare numbers; the lineage has all of them. */
const scalarText = (value: Json): string =>
  code(
    typeof value === 'string'
      ? value
      : String(typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(6)) : value),
  )

/** A change of a figure: `{before, after}` and nothing else. */
const isChange = (value: Readonly<Record<string, Json>>): boolean =>
  Object.keys(value).length === 2 && 'before' in value && 'after' in value

/** Lists and records of scalars as text, deeper values as JSON. */
function valueText(value: Json): string {
  if (isScalar(value)) return scalarText(value)
  if (!Object.values(value as object).every(isScalar)) return code(JSON.stringify(value))
  if (!isRecord(value)) return (value as readonly Json[]).map(scalarText).join(', ')
  if (isChange(value)) return `${scalarText(value.before!)} → ${scalarText(value.after!)}`
  const fields = Object.entries(value).map(([field, of]) => `${escapeHtml(field)} ${scalarText(of)}`)
  return fields.join(' · ')
}

/** Records of more values are shown one per line. */
const LONG = 4

/** People count rules from 1, as `terge plan` does. */
const numbered = (field: string, value: Json): Json =>
  field === 'rule' && typeof value === 'number' ? value + 1 : value

const ordered = (value: Readonly<Record<string, Json>>): [string, Json][] =>
  Object.entries(value).sort(([a], [b]) => naturalOrder(a, b))

/** `key: value`; for long records, and for lists and records of records, one line per entry. */
function fieldText(key: string, value: Json): string {
  const items = Array.isArray(value) ? value.entries() : isRecord(value) ? ordered(value) : []
  const named = [...items].map(([name, item]) => ({ name, item: item as Json }))
  const long = isRecord(value) && named.length > LONG
  if (named.length === 0 || !(long || named.every(({ item }) => isRecord(item))))
    return `${escapeHtml(key)}: ${valueText(value)}`
  const lines = named.map(({ name, item }) => {
    const fields = isRecord(item) ? Object.entries(item) : []
    const text = isRecord(item)
      ? fields.map(([field, of]) => `${escapeHtml(field)} ${valueText(numbered(field, of))}`).join(' · ')
      : valueText(item)
    return `<li>${typeof name === 'string' ? `${escapeHtml(name)}: ` : ''}${text}</li>`
  })
  // Patterns name their rule by its number.
  const list = key === 'rules' ? 'ol' : 'ul'
  return `${escapeHtml(key)}:<${list}>${lines.join('')}</${list}>`
}

function steps(lineage: Lineage): string {
  const rows = Object.entries(lineage.steps).map(([name, { kind, ...rest }]) => [
    `<b>${escapeHtml(name)}</b>`,
    escapeHtml(String(kind)),
    Object.entries(rest)
      .filter(([, value]) => !Array.isArray(value) || value.length > 0)
      .map(([key, value]) => `<div>${fieldText(key, value)}</div>`)
      .join(''),
  ])
  return rows.length === 0
    ? '<p>None. The output is a model of the recipe.</p>'
    : table(['Step', 'Kind', 'Settings and results'], rows)
}

function copies(lineage: Lineage): string {
  const tensors = Object.values(lineage.tensors)
  const reasons = tally(
    tensors.filter(({ reason }) => reason !== undefined),
    ({ reason }) => COPY_REASONS[reason!],
  )
  const absent = tally(
    tensors.flatMap((tensor) => tensor.absent ?? []),
    ({ model, reason }) => `${model}: ${ABSENT_REASONS[reason]}`,
  )
  const count = (pairs: readonly [string, number][], head: string): string =>
    pairs.length === 0
      ? ''
      : table(
          [head, 'Tensors'],
          pairs.map(([name, n]) => [escapeHtml(name), grouped(n)]),
        )
  return (
    count(reasons, 'Reason for copying') + count(absent, 'Skipped model') ||
    '<p>Every tensor was merged from all models.</p>'
  )
}

interface Section {
  readonly id: string
  readonly title: string
  /** Empty: the page does not have the section. */
  readonly inside: string
}

const section = (id: string, title: string, inside: string): Section => ({ id, title, inside })

const option = (value: string, text = value): string =>
  `<option value="${escapeHtml(value)}">${escapeHtml(text)}</option>`

function tensorTable(methods: readonly string[], reasons: readonly string[]): string {
  const heads = [
    ['name', 'Tensor'],
    ['method', 'Method'],
    ['weight', 'Sources and weights'],
    ['dtype', 'Dtype'],
    ['shape', 'Shape'],
    ['elements', 'Elements'],
  ].map(([key, title]) => `<th data-sort="${key}"><button type="button">${title}</button></th>`)
  return `<noscript><p>This table needs JavaScript. The lineage file itself is plain JSON.</p></noscript>
<div class="tools"><input id="search" type="search" placeholder="part of a name, or /expression/" aria-label="search names">
<select id="method" aria-label="method">${option('', 'all methods')}${methods.map((method) => option(method)).join('')}</select>
<select id="which" aria-label="which tensors">${option('', 'all tensors')}${option('merged')}${option('absent', 'with a skipped model')}${reasons.map((reason) => option(reason, `copied: ${reason}`)).join('')}</select>
<span id="count" class="soft"></span><button id="before" type="button">‹</button><span id="page" class="soft"></span><button id="after" type="button">›</button></div>
<div class="scroll"><table><thead><tr>${heads.join('')}</tr></thead><tbody id="rows"></tbody></table></div>`
}

/** The output's name. The checkpoints of an interpolation have their own names. */
const nameOf = ({ files, point, from }: Lineage['output'], folder: string | undefined): string =>
  point?.name ?? folder ?? (files.length === 1 ? files[0]!.name : from)

function outputFiles({ files, dropped }: Lineage['output']): string {
  if (dropped) return '<p>None. The checkpoint was evaluated and not kept.</p>'
  return table(
    ['File', 'Size', 'Digest'],
    files.map((file) => [
      code(file.name),
      formatSize(file.size),
      digestText(file.digest) + (file.sha256 === undefined ? '' : `<br>${code(file.sha256)}`),
    ]),
  )
}

/**
 * The lineage as one self-contained HTML page, without network or other files. Every text is escaped, and the page's content
 * security policy allows only its own script and style. `folder`: the name of an output that is a folder.
 */
export function reportHtml(lineage: Lineage, folder?: string): string {
  const data = pageData(lineage, COLOUR_COUNT)
  const methods = sortedKeys(data.methods)
  const colourOf = (name: string): number => data.colours[name] ?? 0
  const { output, recipe } = lineage
  const title = `Lineage of ${escapeHtml(nameOf(output, folder))}`
  const lines = recipe.text.replace(/\r?\n$/, '').split(/\r?\n/)
  const evaluations = Object.entries(lineage.evaluations ?? {}).map(([name, value]) => [
    escapeHtml(name),
    String(value),
  ])
  const sections = [
    section('models', 'Models', models(lineage, colourOf)),
    section(
      'recipe',
      'Recipe',
      `<div class="recipe">${lines.map((line) => `<code>${escapeHtml(line)}</code>`).join('')}</div>${recipe.set.length > 0 ? `<p>Set on the command line: ${recipe.set.map(code).join(' ')}</p>` : ''}`,
    ),
    section('steps', 'Steps', steps(lineage)),
    section('layers', 'Weights by layer', charts(lineage, colourOf)),
    section('copies', 'Copied tensors and skipped models', copies(lineage)),
    section('evaluations', 'Evaluations', evaluations.length === 0 ? '' : table(['Metric', 'Value'], evaluations)),
    section('tensors', 'Tensors', tensorTable(methods, data.reasons)),
    section('files', 'Output files', outputFiles(output)),
  ].filter(({ inside }) => inside !== '')
  const links = sections.map(({ id, title }) => `<a href="#${id}">${title}</a>`)
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src ${sourceHash(SCRIPT)}; style-src ${sourceHash(STYLE)}; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<style>${STYLE}</style>
</head>
<body>
<header><div><h1>${title}</h1>
<p class="soft">from ${code(output.from)}${output.point ? ` at t = ${code(String(output.point.t))}` : ''} · terge ${escapeHtml(lineage.terge)} · seed ${lineage.seed}<br>output ${digestText(output.digest)}<br>plan ${code(lineage.plan.digest)}<br>recipe ${code(recipe.digest)}</p>
${summary(lineage, data.methods)}<nav>${links.join('')}</nav></div></header>
<main>
${sections.map(({ id, title, inside }) => `<section id="${id}"><h2>${title}</h2>${inside}</section>`).join('\n')}
</main>
<script type="application/json" id="data">${scriptJson(data)}</script>
<script>${SCRIPT}</script>
</body>
</html>
`
}
