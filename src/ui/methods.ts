import { counted, eitherOf } from '../core/words.js'
import { familyOf, type Method, type MethodFamily, type ParameterSchema } from '../index.js'
import { fitted, wrapped, wrappedLines } from './fit.js'

const BASES = {
  none: 'not used',
  required: 'required: merges task vectors',
  optional: 'optional: merges task vectors if the base is not one of the merged models',
  listed: 'required: one of the merged models',
} as const

const OPEN_BASE = 'required if the formula uses base or delta'

/** The same words as in the table of docs/methods.md. */
const COLUMN = { none: '-', required: 'required', optional: 'optional', listed: 'one of the models' } as const

const LINES = 'Scale the merged task vector by layer, linearly from alpha at the first to alpha + beta at the last.'

const OWN = 'A number that the formula uses.'

const namesOf = (method: Method): string => [method.name, ...method.aliases].join(', ')

/** The titles of families in the list. */
const TITLES: Readonly<Record<MethodFamily, string>> = {
  averages: 'averages',
  spherical: 'spherical',
  taskVectors: 'task vectors',
  sparse: 'sparse task vectors',
  singular: 'singular vectors',
  statistics: 'statistics',
  formula: 'formulas',
}

function methodLines(method: Method, width: number): string {
  const facts = [
    ...(method.base === 'none' ? [] : [`base: ${COLUMN[method.base]}`]),
    ...(method.parameters.length === 0 ? [] : [`parameters: ${method.parameters.map(({ name }) => name).join(', ')}`]),
  ]
  const lines = [`  ${namesOf(method)}: ${method.summary}`, ...facts.map((fact) => `      ${fact}`)]
  return wrappedLines(lines.join('\n'), width)
}

/** All methods by family, in lines of at most `width` columns. */
export function methodsText(methods: readonly Method[], width: number): string {
  const families = [...new Set(methods.map(familyOf))].map((family) => {
    const own = methods.filter((method) => familyOf(method) === family)
    return [TITLES[family], ...own.map((method) => methodLines(method, width))].join('\n')
  })
  return families.join('\n\n')
}

function modelCount({ models: { least, most } }: Method): string {
  if (most === undefined) return `${least} or more`
  return least === most ? `exactly ${counted(least, 'model')}` : `${least} to ${most}`
}

/** More words than these are in the parameter's description. */
const MOST_WORDS = 8

function values({ type, choices, minimum, maximum, perModel }: ParameterSchema): string {
  const words = (choices ?? (type === 'boolean' ? [true, false] : [])).map(String)
  if (words.length > MOST_WORDS) return `one of ${words.length} words`
  const kinds = type === 'choice' || type === 'boolean' ? words : [type, ...words]
  const bounds = [minimum === undefined ? '' : `from ${minimum}`, maximum === undefined ? '' : `to ${maximum}`]
  const range = bounds.filter((bound) => bound !== '').join(' ')
  return [eitherOf(kinds), range, perModel ? 'or a mapping from model to number' : '']
    .filter((part) => part !== '')
    .join(', ')
}

/** One method in full: formula, base, weights, parameters, paper. In lines of at most `width` columns, where it can be. */
export function methodText(method: Method, width = Number.POSITIVE_INFINITY): string {
  const facts = [
    ['computes', method.formula],
    ['models', modelCount(method)],
    ['base', method.open ? OPEN_BASE : BASES[method.base]],
    ['weights', method.weights ? 'one per model (default: 1)' : 'none'],
    ...(method.paper === undefined ? [] : [['paper', `https://arxiv.org/abs/${method.paper}`]]),
    ...(method.note === undefined ? [] : [['note', method.note]]),
  ] as const
  const lines = facts.map(([name, text]) => `  ${name!.padEnd(10)}${text}`)
  const parameters = fitted(
    [{ title: '  parameter' }, { title: 'value' }, { title: 'default' }, { title: 'meaning' }],
    [
      ...method.parameters.map((parameter) => [
        `  ${parameter.name}`,
        values(parameter),
        parameter.default === undefined ? 'required' : String(parameter.default),
        parameter.describe,
      ]),
      ...(method.open ? [['  any name', 'number, or a mapping from model to number', 'none', OWN]] : []),
      // Recipes accept it for all methods that require a base of task vectors.
      ...(method.base === 'required' ? [['  lines', '{alpha: number, beta: number}', 'none', LINES]] : []),
    ],
    width,
  )
  return [
    wrapped(`${namesOf(method)}: ${method.summary}`, width, '  '),
    '',
    ...lines.map((line) => wrappedLines(line, width, '  ')),
    ...(method.parameters.length > 0 || method.base === 'required' ? ['', parameters] : []),
  ].join('\n')
}

/** A method as plain data for JSON. */
export const methodJson = (method: Method) => {
  const { name, aliases, summary, formula, paper, note, base, weights, models, parameters } = method
  return {
    ...{ name, aliases, family: familyOf(method), summary, formula },
    ...(paper === undefined ? {} : { paper }),
    ...(note === undefined ? {} : { note }),
    ...{ base, weights, models, parameters },
  }
}
