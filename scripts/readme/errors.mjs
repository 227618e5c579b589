// The reference of errors and warnings: one entry for each code, from scripts/errors/*.yml.
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'

const folder = fileURLToPath(new URL('../errors/', import.meta.url))

/** In the order of the page. A file that is not listed comes last. */
const AREAS = [
  'command-line',
  'recipe',
  'mergekit',
  'files',
  'merging',
  'adapters',
  'tokenizers',
  'alignment',
  'running',
  'hub',
  's3',
  'lineage',
]

/** `{title, about, errors: {CODE: {severity, means, example, outside?, fix}}}` of each area. */
export function errorAreas() {
  const names = readdirSync(folder).filter((name) => name.endsWith('.yml'))
  const rank = (name) => (AREAS.indexOf(path.basename(name, '.yml')) + AREAS.length + 1) % (AREAS.length + 1)
  return names.sort((a, b) => rank(a) - rank(b)).map((name) => parse(readFileSync(path.join(folder, name), 'utf8')))
}

const LABELS = { error: 'Error', warning: 'Warning', both: 'Error or warning' }

/** Text as code, whatever marks are in it. */
const asCode = (text) => (text.includes('`') ? `\`\` ${text} \`\`` : `\`${text}\``)

const entry = ([code, { severity, means, example, fix }]) =>
  `### ${code}\n\n*${LABELS[severity]}.* ${means}\n\n> ${asCode(example)}\n\n**What to do:** ${fix}`

export const errorReference = () =>
  errorAreas()
    .map(({ title, about, errors }) => [`## ${title}`, about, ...Object.entries(errors).map(entry)].join('\n\n'))
    .join('\n\n')

/** All codes as links, a line for each letter. */
export function errorIndex() {
  const codes = errorAreas().flatMap(({ errors }) => Object.keys(errors))
  const letters = new Map(codes.sort().map((code) => [code[0], codes.filter((other) => other[0] === code[0])]))
  return [...letters]
    .map(([letter, own]) => `**${letter.toUpperCase()}** ${own.map((code) => `[${code}](#${code})`).join(' · ')}`)
    .join('\n\n')
}
