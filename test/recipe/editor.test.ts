/** Recipes in an editor: completion, hover and marks of yaml-language-server with the published schema. */
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { load } from '../../src/index.js'
import { codeBlocks, completed, documents } from '../support/documents.js'
import { type EditorProblem, type Offered, startLanguageServer } from '../support/languageServer.js'
import { BROKEN, COMPLETIONS, HOVERS } from './editorCases.js'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const schema = pathToFileURL(path.join(root, 'schemas/recipe.v1.schema.json')).href
const server = startLanguageServer(schema)

let documentsOpened = 0
/** All documents are opened at the start: the server waits for a moment before it reports on one. */
function open(text: string, uri = `file:///recipes/${documentsOpened++}.yml`) {
  const cursor = text.indexOf('‸')
  const before = text.slice(0, Math.max(cursor, 0)).split('\n')
  const position = { line: before.length - 1, character: before.at(-1)!.length }
  const problems = server.then((running) => running.problems(uri, text.replace('‸', '')))
  return {
    problems,
    complete: async () => problems.then(async () => (await server).complete(uri, position)),
    hover: async () => problems.then(async () => (await server).hover(uri, position)),
  }
}

const said = (problems: readonly EditorProblem[]): string[] =>
  problems.map(({ range, message }) => `${range.start.line + 1}: ${message}`)

const titled = (text: string): string => text.replaceAll('\n', '⏎').slice(-60)

/** Items that editors make of titles and types. */
const JUNK = /^an? |^(string|object|array|number|integer|boolean)\b|recipe|schema|\btype\b/i

const once = (offered: readonly Offered[]): string[] => {
  const keys = offered.map(({ label, insertText }) => `${label} ${insertText}`)
  return keys.filter((key, index) => keys.indexOf(key) < index)
}

const completions = COMPLETIONS.map((row) => ({ ...row, found: open(row.at).complete() }))
for (const { at, offered, absent = [], found } of completions)
  test(`offered at ${titled(at)}`, async () => {
    const items = await found
    const labels = items.map(({ label }) => label)
    assert.equal(
      offered.filter((label) => !labels.includes(label)),
      [],
      `only ${labels.join(', ')}`,
    )
    assert.equal(
      labels.filter((label) => absent.includes(label) || JUNK.test(label)),
      [],
    )
    assert.equal(once(items), [])
  })

const hovers = HOVERS.map(([at, shown]) => ({ at, shown, found: open(at).hover() }))
for (const { at, shown, found } of hovers)
  test(`shown at ${titled(at)}`, async () => {
    assert.match(await found, shown)
  })

const broken = Object.entries(BROKEN).map(([name, text]) => ({ name, text, found: open(text).problems }))
for (const { name, text, found } of broken)
  test(`marked: ${name}`, async () => {
    const marked = text.split('\n').flatMap((line, index) => (line.endsWith('# !') ? [index + 1] : []))
    const problems = await found
    const lines = [...new Set(problems.map(({ range }) => range.start.line + 1))].sort((a, b) => a - b)
    assert.equal(lines, marked, said(problems).join('\n'))
    const { diagnostics } = load('recipe.yml', { text })
    const errors = diagnostics.filter(({ severity }) => severity === 'error')
    assert.equal([...new Set(errors.map(({ place }) => place?.line))], marked)
  })

const recipes = readdirSync(path.join(root, 'recipes'), { recursive: true, encoding: 'utf8' })
  .filter((name) => /\.ya?ml$/.test(name))
  .map((name) => ({ name, file: path.join(root, 'recipes', name) }))
  // With their own names: each finds the schema by its first line.
  .map(({ name, file }) => ({ name, found: open(readFileSync(file, 'utf8'), pathToFileURL(file).href).problems }))
for (const { name, found } of recipes)
  test(`recipes/${name}: nothing is marked`, async () => {
    assert.equal(said(await found), [])
  })

const pages = documents().map((name) => ({
  name,
  blocks: codeBlocks(readFileSync(path.join(root, name), 'utf8'), 'yaml').map((text) => {
    // The path in the first line of a recipe is relative to another folder.
    const whole = completed(text.replace(/^# yaml-language-server: .*/, ''))
    return { whole, found: open(whole).problems }
  }),
}))
for (const { name, blocks } of pages.filter(({ blocks }) => blocks.length > 0))
  test(`${name}: nothing is marked in its recipes`, async () => {
    for (const { whole, found } of blocks) assert.equal(said(await found), [], whole)
  })

test.after(async () => (await server).close())
test.run()
