/** docs/errors.md has each code of the program once, with the severity and the words that the source has. */
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { ERROR_CODES } from '../src/core/codes.js'
import { messageTemplates, type Template } from './support/templates.js'

interface Entry {
  readonly severity: 'error' | 'warning' | 'both'
  readonly means: string
  readonly example: string
  /** The example is the text of Node, a library or a recipe, not of the source. */
  readonly outside?: true
  readonly fix: string
}
type Area = { readonly title: string; readonly about: string; readonly errors: Readonly<Record<string, Entry>> }

const root = fileURLToPath(new URL('../../', import.meta.url))
// JavaScript of the scripts folder: run from where it lies, not compiled.
const script: string = new URL('../../scripts/readme/errors.mjs', import.meta.url).href
const { errorAreas } = (await import(script)) as { errorAreas: () => readonly Area[] }
const areas = errorAreas()
const entries = areas.flatMap(({ errors }) => Object.entries(errors))

const sources = readdirSync(path.join(root, 'src'), { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts') && path.basename(name) !== 'codes.ts' && !name.includes('assembly'))
  .map((name) => ({ name, text: readFileSync(path.join(root, 'src', name), 'utf8') }))

test('every code has exactly one entry, in alphabetical order of its area, and no entry is of another code', () => {
  assert.equal(entries.map(([code]) => code).sort(), [...ERROR_CODES].sort())
  for (const { title, errors } of areas) assert.equal(Object.keys(errors), Object.keys(errors).sort(), title)
})

test('every code is used in the source', () => {
  const all = sources.map(({ text }) => text).join('\n')
  // checkFiles.ts makes these of `input` or `output` and the rest.
  const isComposed = (code: string) => /^(input|output)-/.test(code) && all.includes(`\${kind}-${code.split('-')[1]}`)
  assert.equal(
    ERROR_CODES.filter((code) => !all.includes(`'${code}'`) && !isComposed(code)),
    [],
  )
})

test('entries are short and whole', () => {
  for (const [code, { means, example, fix, ...rest }] of entries) {
    for (const text of [means, example, fix]) assert.type(text, 'string', code)
    assert.match(means, /^[A-Z`a-z].*[.)]$/, code)
    assert.match(fix, /^[A-Z`a-z].*[.)`]$/, code)
    assert.ok(means.length < 300 && example.length < 220 && fix.length < 300, `${code} is too long`)
    assert.equal(
      Object.keys(rest).filter((key) => key !== 'severity' && key !== 'outside'),
      [],
      code,
    )
  }
})

/** What functions that report take their severity from; a function that is not here says nothing. */
const CALLS: Readonly<Record<string, Entry['severity']>> = {
  fault: 'error',
  error: 'error',
  fail: 'error',
  warn: 'warning',
  ignored: 'both',
}

test('the severity is the one in the source', () => {
  for (const [code, { severity }] of entries) {
    const called = new RegExp(`\\b(\\w+)\\(\\s*'${code}'[,\\s]`, 'g')
    const literal = new RegExp(`severity: '(error|warning)'[^{}]{0,40}code: '${code}'`, 'g')
    const own = sources.filter(({ text }) => text.includes(`'${code}'`))
    const found = own.flatMap(({ text }) => [
      ...[...text.matchAll(called)].flatMap(([, name]) => CALLS[name!] ?? []),
      ...[...text.matchAll(literal)].map(([, written]) => written as Entry['severity']),
    ])
    const wrong = severity === 'both' ? [] : found.filter((one) => one !== severity)
    assert.equal(wrong, [], `${code}: the entry says ${severity}`)
    const sites = own.reduce((sum, { text }) => sum + text.split(`'${code}'`).length - 1, 0)
    if (severity === 'both' && found.length === sites && !found.includes('both'))
      assert.is(new Set(found).size, 2, `${code}: the source has it as ${found[0]} alone`)
  }
})

test('each example is a message of the source', () => {
  const known = new Map<string, readonly Template[]>()
  const templatesOf = (text: string): readonly Template[] => {
    const list = known.get(text) ?? messageTemplates(text)
    known.set(text, list)
    return list
  }
  const unlike = entries.filter(([code, { example, outside }]) => {
    assert.not.match(example, '\n', code)
    if (outside) return false
    // First where the code is; some messages are made elsewhere.
    const own = sources.filter(({ text }) => text.includes(`'${code}'`))
    const matches = ({ text }: { text: string }) => templatesOf(text).some((template) => template(example))
    return !own.some(matches) && !sources.some(matches)
  })
  assert.equal(
    unlike.map(([code, { example }]) => `${code}: no message in src reads ${example}`),
    [],
  )
})

test('the page says for each code how severe it is', () => {
  const page = readFileSync(path.join(root, 'docs/errors.md'), 'utf8')
  const labels = { error: 'Error', warning: 'Warning', both: 'Error or warning' }
  for (const [code, { severity }] of entries) assert.ok(page.includes(`\n### ${code}\n\n*${labels[severity]}.* `), code)
})

test.run()
