/** The steps: settings, results, and rules with links to the tensors that they made. */
import { naturalOrder } from '../../../../core/collections/naturalOrder.js'
import type { Json } from '../../../../core/json/shape.js'
import { counted } from '../../../../core/words.js'
import type { PatternCount } from '../../../../expr/types.js'
import { stepLine } from '../../../steps.js'
import type { Lineage, LineageStep } from '../../../types.js'
import type { Colours } from '../data.js'
import { code, escapeHtml, filterLink, numberText } from '../html.js'
import { paperLink } from '../links.js'
import { roundedJson } from '../numbers.js'
import { stepId } from '../rules.js'

const isRecord = (value: Json): value is Readonly<Record<string, Json>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const isEmpty = (value: Json): boolean => Array.isArray(value) && value.length === 0

const isScalar = (value: Json): boolean => typeof value !== 'object' || value === null

const scalarText = (value: Json): string =>
  typeof value === 'number'
    ? `<b>${numberText(value)}</b>`
    : typeof value === 'string'
      ? code(value)
      : code(String(value))

/** A change of a figure: `{before, after}` and nothing else. */
const isChange = (value: Readonly<Record<string, Json>>): boolean =>
  Object.keys(value).length === 2 && 'before' in value && 'after' in value

/** Records of more values are shown one per line, and long ones are folded. */
const LONG = 4
const FOLDED = 12
/** Deeper values are shown as JSON. */
const DEEPEST = 3

/** Values in one line, and below it a list of those that have lists or records of records. */
function valueText(value: Json, depth = 0): string {
  if (isScalar(value)) return scalarText(value)
  const isFlat = Object.values(value as object).every(isScalar)
  if (!isFlat && depth === DEEPEST) return code(roundedJson(value))
  if (!isRecord(value)) {
    const items = value as readonly Json[]
    return isFlat ? items.map(scalarText).join(', ') : listText(items.map((item) => valueText(item, depth + 1)))
  }
  if (isChange(value) && isFlat) return `${scalarText(value.before!)} → ${scalarText(value.after!)}`
  const fields = Object.entries(value).filter(([, of]) => !isEmpty(of))
  const isShort = (of: Json): boolean => isScalar(of) || (Array.isArray(of) && of.every(isScalar))
  const parts = (these: typeof fields): string[] =>
    these.map(([field, of]) => `${escapeHtml(field)} ${valueText(of, depth + 1)}`)
  const below = parts(fields.filter(([, of]) => !isShort(of)))
  return `${parts(fields.filter(([, of]) => isShort(of))).join(' · ')}${below.length === 0 ? '' : listText(below)}`
}

function listText(lines: readonly string[]): string {
  const list = `<ul>${lines.map((line) => `<li>${line}</li>`).join('')}</ul>`
  return lines.length > FOLDED ? `<details><summary>${counted(lines.length, 'value')}</summary>${list}</details>` : list
}

/** `key: value`; for long records, and for lists and records of records, one line per entry. */
function fieldText(key: string, value: Json): string {
  const items: [string, Json][] = isRecord(value)
    ? Object.entries(value).sort(([a], [b]) => naturalOrder(a, b))
    : Array.isArray(value)
      ? value.map((item): [string, Json] => ['', item])
      : []
  const long = isRecord(value) && items.length > LONG
  if (items.length === 0 || !(long || items.every(([, item]) => isRecord(item))))
    return `<dt>${escapeHtml(key)}</dt><dd>${valueText(value)}</dd>`
  const lines = items.map(([name, item]) => `${name === '' ? '' : `${code(name)} `}${valueText(item)}`)
  return `<dt>${escapeHtml(key)}</dt><dd>${listText(lines)}</dd>`
}

const matchText = ({ pattern, matches, applies }: PatternCount): string =>
  `${code(pattern)} <span class="soft">matches ${matches}${applies === matches ? '' : `, applies to ${applies}`}</span>`

interface RuleRecord {
  readonly method: string
  readonly models: readonly string[]
}

/** A step's rules, as the recipe numbers them, each with its patterns. */
function rulesText(
  index: number,
  name: string,
  patterns: readonly PatternCount[],
  rules: readonly RuleRecord[],
): string {
  const found = patterns.filter(({ where }) => where === 'rule')
  const numbers = [...new Set(found.flatMap(({ rule }) => rule ?? []))].sort((a, b) => a - b)
  if (numbers.length === 0) return ''
  const items = numbers.map((rule) => {
    const own = found.filter((pattern) => pattern.rule === rule)
    const record = rules[rule]
    const applies = own.reduce((sum, pattern) => sum + pattern.applies, 0)
    const link = filterLink({ rule: `${name}/${rule + 1}` }, counted(applies, 'tensor'))
    const method = record
      ? ` ${escapeHtml(record.method)} <span class="soft">of ${record.models.map(escapeHtml).join(', ')}</span>`
      : ''
    return `<li id="${stepId(index, rule + 1)}"><b>rule ${rule + 1}</b>:${method} → ${link}<br>${own.map(matchText).join('<br>')}</li>`
  })
  return `<dt>rules</dt><dd><ul class="rules">${items.join('')}</ul></dd>`
}

const FILTER_REASONS = { include: 'not-included', exclude: 'excluded' } as const

function filtersText(patterns: readonly PatternCount[]): string {
  return (['include', 'exclude'] as const)
    .map((where) => {
      const own = patterns.filter((pattern) => pattern.where === where)
      if (own.length === 0) return ''
      const link = filterLink({ which: FILTER_REASONS[where] }, 'copied tensors')
      return `<dt>${where}</dt><dd>${own.map(matchText).join('<br>')}<br>${link}</dd>`
    })
    .join('')
}

/** What other sections of the page show. */
const ELSEWHERE: ReadonlySet<string> = new Set(['kind', 'patterns', 'rules', 'groups', 'method'])

function stepText(name: string, step: LineageStep, index: number, colours: Colours): string {
  const fields = step as unknown as Readonly<Record<string, Json>>
  const patterns = step.kind === 'tokenizer' ? [] : step.patterns
  const method = typeof fields.method === 'string' ? fields.method : undefined
  const paper = method === undefined ? '' : paperLink(method)
  const line = stepLine(name, step)
  const rest = Object.entries(fields).filter(([key, value]) => !ELSEWHERE.has(key) && !isEmpty(value))
  const rules = 'rules' in step && step.rules ? step.rules : []
  const others = [...new Set(rules.map((rule) => rule.method))].filter((one) => one !== method && paperLink(one) !== '')
  const papers = others.map((one) => `${escapeHtml(one)}: ${paperLink(one)}`)
  return `<article id="${stepId(index)}" class="step"><h3><span class="under c${colours.ofName(name)}">${escapeHtml(name)}</span> <span class="badge">${escapeHtml(step.kind)}</span>${method === undefined ? '' : ` ${escapeHtml(method)}`}${paper === '' ? '' : ` <small>${paper}</small>`}</h3>${line === undefined ? '' : `<p>${escapeHtml(line)}</p>`}<dl>${rulesText(index, name, patterns, rules)}${filtersText(patterns)}${rest.map(([key, value]) => fieldText(key, value)).join('')}${papers.length === 0 ? '' : `<dt>papers</dt><dd>${papers.join('<br>')}</dd>`}${'groups' in step && step.groups ? '<dt>groups</dt><dd><a href="#alignments">alignments</a></dd>' : ''}</dl></article>`
}

export function steps(lineage: Lineage, colours: Colours): string {
  const parts = Object.entries(lineage.steps).map(([name, step], index) => stepText(name, step, index, colours))
  return parts.join('') || '<p>None. The output is a model of the recipe.</p>'
}
