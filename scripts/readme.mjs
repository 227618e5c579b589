// The parts of README.md and docs/ that the program itself knows: commands, methods, the recipe's keys, real output.
// Each stands between `<!-- made: NAME -->` and `<!-- end -->`. `npm run readme` writes them anew; a test compares.
// `node scripts/readme.mjs --write WORD…` writes the parts whose names have one of the words.
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { libraryIndex, writePages } from './api/pages.mjs'
import { commandReference, commandTable } from './readme/commands.mjs'
import { errorIndex, errorReference } from './readme/errors.mjs'
import { fault } from './readme/fault.mjs'
import { keyReference, keyTable } from './readme/keys.mjs'
import { layoutTable } from './readme/layouts.mjs'
import { methodReference, methodTable } from './readme/methods.mjs'
import { peerTable } from './readme/peers.mjs'
import { qualityTable } from './readme/quality.mjs'
import { rebasinResult, tiesLineage, tiesPlan, tiesResult } from './readme/quickstart.mjs'
import { recipeTable } from './readme/recipes.mjs'

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)))
export const FILES = [
  'README.md',
  'docs/command-line.md',
  'docs/errors.md',
  'docs/getting-started.md',
  'docs/layouts.md',
  'docs/library.md',
  'docs/lineage.md',
  'docs/methods.md',
  'docs/performance.md',
  'docs/recipe-language.md',
  'recipes/README.md',
]

const source = (name) => readFileSync(path.join(root, name), 'utf8').trimEnd()
const code = (language, text) => `\`\`\`${language}\n${text}\n\`\`\``

/** By name, each gives Markdown. */
const PARTS = {
  commands: commandTable,
  'command reference': commandReference,
  layouts: layoutTable,
  methods: methodTable,
  'method reference': methodReference,
  quality: qualityTable,
  keys: keyTable,
  'key reference': keyReference,
  fault,
  'error index': errorIndex,
  'error reference': errorReference,
  recipes: recipeTable,
  peers: peerTable,
  'ties recipe': () => code('yaml', source('recipes/quickstart/ties.yml')),
  'ties result': tiesResult,
  'ties plan': tiesPlan,
  'ties lineage': tiesLineage,
  'rebasin recipe': () => code('yaml', source('recipes/quickstart/rebasin.yml')),
  'rebasin result': rebasinResult,
  'library index': libraryIndex,
  'library example': () => code('js', source('recipes/quickstart/merge.mjs')),
}

const PART = /(<!-- made: ([\w ]+) -->\n)[\s\S]*?(<!-- end -->)/g

/** The file's text with its made parts as they are now, or those whose names have one of these words. */
export async function made(file, words = ['']) {
  const text = readFileSync(path.join(root, file), 'utf8')
  const parts = new Map()
  for (const [, , name] of text.matchAll(PART)) {
    if (!PARTS[name]) throw new Error(`internal: ${file} asks for a part called ${name}`)
    if (words.some((word) => name.includes(word))) parts.set(name, `${(await PARTS[name]()).trim()}\n`)
  }
  return text.replace(PART, (whole, open, name, end) => (parts.has(name) ? `${open}${parts.get(name)}${end}` : whole))
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const write = process.argv.includes('--write')
  const words = process.argv.slice(2).filter((word) => word !== '--write')
  const named = words.length > 0
  if (named && !Object.keys(PARTS).some((part) => words.some((word) => part.includes(word))))
    throw new Error(`no part has such a name; there are: ${Object.keys(PARTS).join(', ')}`)
  if (write && !named) writePages()
  for (const file of FILES) {
    const text = await made(file, named ? words : undefined)
    if (text === readFileSync(path.join(root, file), 'utf8')) continue
    if (write) writeFileSync(path.join(root, file), text)
    else process.exitCode = 1
    console.log(`${file}: ${write ? 'written' : 'not up to date: npm run readme'}`)
  }
}
