/** Text for people follows docs/style.md: the phrases that it bans appear in no string of the source, in no help and in no page. */
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'

const root = fileURLToPath(new URL('../../', import.meta.url))
const read = (name: string): string => readFileSync(path.join(root, name), 'utf8')
const filesIn = (folder: string, ending: string): string[] =>
  readdirSync(path.join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith(ending))
    .map((name) => `${folder}/${name.split(path.sep).join('/')}`)
    .sort()

const banned = /<!-- banned -->\n```\n([\s\S]*?)\n```/
  .exec(read('docs/style.md'))![1]!
  .split('\n')
  .map((pattern) => new RegExp(pattern, 'i'))

/** Comments out, strings and templates in; line by line, so that a failure names its line. */
function* stringsOf(source: string): Generator<readonly [line: number, text: string]> {
  const token =
    /\/\*[\s\S]*?\*\/|\/\/[^\n]*|'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|`(?:[^`\\$]|\\[\s\S]|\$(?!\{)|\$\{(?:[^`{}]|\{[^{}]*\}|`(?:[^`\\]|\\.)*`)*\})*`|\/(?![*/])(?:[^/\\\n[]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/[a-z]*(?=[\s),.;\]}])/g
  for (const { 0: text, index } of source.matchAll(token))
    if (/^['"`]/.test(text)) yield [source.slice(0, index).split('\n').length, text.replace(/\$\{[^{}]*\}/g, '…')]
}

/** Prose of a page: code blocks and inline code out. */
const prose = (page: string): string =>
  page.replace(/```[\s\S]*?```/g, (code) => code.replace(/[^\n]/g, '')).replace(/`[^`\n]*`/g, '``')

const found = (file: string, texts: Iterable<readonly [line: number, text: string]>): string[] =>
  [...texts].flatMap(([line, text]) =>
    banned.filter((pattern) => pattern.test(text)).map((pattern) => `${file}:${line}: ${pattern.exec(text)![0]}`),
  )

test('the scanner finds strings, and no comments', () => {
  const strings = [...stringsOf("// it is told\nconst a = 'is told' /* told */ + `x`\n")]
  assert.equal(strings, [
    [2, "'is told'"],
    [2, '`x`'],
  ])
  assert.ok(banned.length >= 10 && banned.some((pattern) => pattern.test('each fault is told')))
})

test('no string of the source has a banned phrase', () => {
  assert.equal(
    filesIn('src', '.ts').flatMap((file) => found(file, stringsOf(read(file)))),
    [],
  )
})

test('no page has a banned phrase', () => {
  const pages = ['README.md', 'CONTRIBUTING.md', 'recipes/README.md', ...filesIn('docs', '.md')]
  const lines = (page: string) =>
    prose(page)
      .split('\n')
      .map((text, index) => [index + 1, text] as const)
  // The style guide quotes what it bans.
  assert.equal(
    pages.filter((page) => page !== 'docs/style.md').flatMap((page) => found(page, lines(read(page)))),
    [],
  )
})

test.run()
