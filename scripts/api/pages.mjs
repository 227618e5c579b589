// The pages of the library in docs/api: one per function, from the declarations of src/index.ts, with an example and what it
// prints. `npm run readme` writes them; a test compares.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { table, ticks } from '../readme/markdown.mjs'
import { membersOf, publicApi, signatureOf } from './declarations.mjs'
import { shownExamples } from './examples.mjs'

const root = fileURLToPath(new URL('../../', import.meta.url))
const { ERROR_CODES } = await import(pathToFileURL(path.join(root, 'dist/src/core/codes.js')).href)

/** In the order of the index. */
const GROUPS = {
  Recipes: [
    'load',
    'validate',
    'init',
    'recipeOf',
    'conversionRecipe',
    'recipeAsData',
    'importMergekit',
    'importBlockWeights',
  ],
  Plans: [
    'plan',
    'openRecipe',
    'planOpened',
    'comparePlans',
    'compareLineages',
    'plannedTensors',
    'planGraph',
    'viewPlan',
    'planDownloads',
    'planLicenses',
  ],
  Runs: ['run', 'checkParts', 'runPart', 'finishParts', 'startAhead', 'lock', 'search'],
  Results: [
    'verify',
    'sign',
    'report',
    'trace',
    'stepLine',
    'stepNotes',
    'measuredPaths',
    'barrier',
    'drop',
    'readPath',
    'readPathOf',
  ],
  Models: ['inspect', 'checkpointFacts', 'listedTensors', 'permutationSpec', 'modelLayouts', 'listLayouts', 'diff'],
  Methods: ['listMethods', 'findMethod', 'familyOf'],
  Errors: ['formatDiagnostic'],
}
const grouped = Object.values(GROUPS).flat()

const isOptions = (name) => name.endsWith('Options') || name === 'OneLine' || name === 'Conversion'
const code = (language, text) => `\`\`\`${language}\n${text}\n\`\`\``
const oneLine = (text) => text.replace(/\s*\/\*\*[\s\S]*?\*\/\s*/g, ' ').replace(/\s+/g, ' ')

/** The functions, which must all have a place in the index, an example, and words about what they throw. */
function functions() {
  const all = [...publicApi().values()].filter(({ kind }) => kind === 'function')
  const examples = shownExamples()
  for (const { name, comment } of all) {
    if (!grouped.includes(name)) throw new Error(`scripts/api/pages.mjs: ${name} is in no group`)
    if (!examples.has(name)) throw new Error(`scripts/api/examples: ${name} has no example`)
    const unknown = comment.throws
      .flatMap((line) => [...line.matchAll(/`([a-z]+-[a-z-]+)`/g)])
      .find(([, word]) => !ERROR_CODES.includes(word))
    if (unknown) throw new Error(`the comment of ${name} names an error that does not exist: ${unknown[1]}`)
    if (comment.throws.length === 0 && !/never throws|nothing is thrown/i.test(comment.prose))
      throw new Error(`the comment of ${name} does not say what it throws: @throws, or "Never throws."`)
  }
  return all
}

/** Words in ticks that are codes of errors or functions, as links. */
const linked = (text) =>
  text.replace(/`([\w-]+)`/g, (whole, word) => {
    if (ERROR_CODES.includes(word)) return `[${whole}](../errors.md#${word})`
    return publicApi().get(word)?.kind === 'function' ? `[${whole}](${word}.md)` : whole
  })

/** Names of exported types in a text, in its order. */
const typesIn = (text) => {
  const words = text.replace(/\/\*\*[\s\S]*?\*\//g, '').match(/\b[A-Z]\w+\b/g) ?? []
  return [...new Set(words)].filter((word) => publicApi().has(word))
}

const anchor = (name) => `types.md#${name.toLowerCase()}`

/** Members of options and results without a comment. */
const bare = []

function memberTable(name) {
  const declaration = publicApi().get(name)
  const rows = membersOf(declaration).map(({ name: member, optional, type, comment }) => {
    if (comment === '') bare.push(`${name}.${member}`)
    return [ticks(member), `${ticks(oneLine(type))}${optional ? ', optional' : ''}`, comment.replaceAll('\n', ' ')]
  })
  return `### ${name}\n\n${declaration.comment.prose}\n\n${table(['member', 'type', 'meaning'], rows)}`
}

/** Results of more than one function are on the page of types only. */
const isShared = (name) =>
  grouped.filter((other) => typesIn(signatureOf(publicApi().get(other))).includes(name)).length > 1

function pageOf({ name, comment, body, kind }) {
  const signature = signatureOf({ name, body, kind })
  const types = typesIn(signature)
  const own = types.filter((type) => publicApi().get(type).kind === 'interface' && (isOptions(type) || !isShared(type)))
  const others = [...new Set(own.flatMap((type) => typesIn(publicApi().get(type).body)).concat(types))].filter(
    (type) => !own.includes(type) && !isOptions(type),
  )
  const { text, printed } = shownExamples().get(name)
  const see = others.map((type) => `[${ticks(type)}](${anchor(type)})`).join(', ')
  return [
    `<!-- Made by npm run readme from the comments of the sources. -->\n# ${name}`,
    linked(comment.prose),
    code('ts', signature),
    ...(see === '' ? [] : [`Types: ${see}.`]),
    ...(own.length === 0 ? [] : ['## Options and results', ...own.map(memberTable)]),
    '## Errors',
    comment.throws.length === 0
      ? 'None that a user can cause.'
      : `A [\`Fault\`](${anchor('Fault')}) with the following diagnostics:\n\n${comment.throws.map((line) => `- ${linked(line)}`).join('\n')}`,
    `## Example\n\nIn the folder of the [quickstart](../../recipes/quickstart/average.yml):`,
    code('js', text),
    'It prints:',
    code('', printed),
    '[All functions](../library.md)',
  ].join('\n\n')
}

function typesPage() {
  const all = [...publicApi().values()]
    .filter(({ kind, name }) => kind !== 'function' && !isOptions(name))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
  const parts = all.map(
    ({ name, comment, body }) =>
      `## ${name}\n\n${linked(comment.prose)}\n\n${code('ts', body.replace(/^export (declare )?/, ''))}`,
  )
  const lead =
    'Types of the library that are not options. Digests are `algorithm:hex`. Sizes are in bytes, shapes in elements, and t goes from 0 to 1.'
  return [
    '<!-- Made by npm run readme from the comments of the sources. -->\n# Types',
    lead,
    ...parts,
    '[All functions](../library.md)',
  ].join('\n\n')
}

/** The index of docs/library.md. */
export const libraryIndex = () => {
  const all = new Map(functions().map((one) => [one.name, one]))
  return Object.entries(GROUPS)
    .map(([title, names]) => {
      const rows = names.map((name) => {
        const [first] = /^.*?[.:](?=\s|$)/s.exec(all.get(name).comment.prose)
        return [`[${ticks(`${name}()`)}](api/${name}.md)`, first.replace(/:$/, '.')]
      })
      return `**${title}**\n\n${table(['function', 'does'], rows)}`
    })
    .join('\n\n')
}

/** By path in the repository. */
export function apiPages() {
  const pages = new Map([
    ...functions().map((one) => [`docs/api/${one.name}.md`, `${pageOf(one)}\n`]),
    ['docs/api/types.md', `${typesPage()}\n`],
  ])
  if (bare.length > 0) throw new Error(`members without a comment: ${[...new Set(bare)].join(', ')}`)
  return pages
}

/** The pages that are there. */
export const committedPages = () =>
  existsSync(path.join(root, 'docs/api'))
    ? readdirSync(path.join(root, 'docs/api')).map((name) => `docs/api/${name}`)
    : []

export function writePages() {
  mkdirSync(path.join(root, 'docs/api'), { recursive: true })
  const pages = apiPages()
  for (const file of committedPages()) if (!pages.has(file)) rmSync(path.join(root, file))
  for (const [file, text] of pages) {
    const place = path.join(root, file)
    if (existsSync(place) && readFileSync(place, 'utf8') === text) continue
    writeFileSync(place, text)
    console.log(`${file}: written`)
  }
}
