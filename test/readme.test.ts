/** README.md and docs/ are true: generated parts are current, links lead somewhere, examples are valid, sentences are short. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { COMMANDS } from '../src/commands/map.js'
import { listMethods, load } from '../src/index.js'
import { codeBlocks, completed } from './support/documents.js'

const root = fileURLToPath(new URL('../../', import.meta.url))
const read = (file: string) => readFileSync(path.join(root, file), 'utf8')
const script = (name: string): string => new URL(`../../scripts/${name}.mjs`, import.meta.url).href

// JavaScript of the scripts folder: run from where it lies, not compiled.
const { FILES, made } = (await import(script('readme'))) as { FILES: string[]; made: (file: string) => Promise<string> }
const { pages, measure } = (await import(script('sentences'))) as {
  pages: () => string[]
  measure: (markdown: string) => { average: number; share: number; long: { text: string }[] }
}
const pictures = (await import(script('pictures'))) as {
  sources: () => { terminal: string; page: string }
  digest: (page: string) => string
  committed: () => { terminal: string; page: string }
}

for (const file of FILES)
  test(`${file} is up to date`, async () => {
    assert.is(await made(file), read(file), 'npm run readme writes the generated parts again')
  })

/** Anchors as GitHub makes them from headings. */
const anchorsOf = (file: string) => [
  ...[...read(file).matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
    heading!
      .toLowerCase()
      .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .replace(/[^\p{L}\d\s_-]/gu, '')
      .replaceAll(' ', '-'),
  ),
]

const markdown = [...pages(), 'CHANGELOG.md']

const { apiPages, committedPages } = (await import(script('api/pages'))) as {
  apiPages: () => Map<string, string>
  committedPages: () => string[]
}

test('docs/api is up to date', () => {
  const pages = apiPages()
  assert.equal(committedPages().sort(), [...pages.keys()].sort())
  for (const [file, text] of pages) assert.is(read(file), text, `${file}: npm run readme writes it again`)
})

for (const file of [...markdown, ...committedPages()])
  test(`${file}: links lead to files and headings that exist`, () => {
    const links = [
      ...read(file).matchAll(
        /\]\((?!https?:(?!\/\/github\.com\/terge\/terge\/(?:blob|tree)\/main\/))([^)#]*)(?:#([^)]*))?\)/g,
      ),
    ]
    for (const [, link, anchor] of links) {
      const own = link!.split(/^https:\/\/github\.com\/terge\/terge\/(?:blob|tree)\/main\//)[1]
      const target = own ?? (link === '' ? file : path.join(path.dirname(file), link!))
      assert.ok(existsSync(path.join(root, target)), `${link} is not there`)
      if (anchor && target.endsWith('.md')) assert.ok(anchorsOf(target).includes(anchor), `${target} has no #${anchor}`)
    }
  })

test('docs/README.md lists every page', () => {
  const index = read('docs/README.md')
  const missing = readdirSync(path.join(root, 'docs')).filter((name) => name.endsWith('.md') && name !== 'README.md')
  assert.equal(
    missing.filter((name) => !new RegExp(`\\]\\((https://.*/docs/)?${name}\\)`).test(index)),
    [],
  )
})

for (const file of markdown.filter((name) => name !== 'docs/style.md' && !name.startsWith('docs/adding-')))
  test(`${file}: its recipes have no errors`, () => {
    for (const text of codeBlocks(read(file), 'yaml')) {
      const { diagnostics } = load('recipe.yml', { text: completed(text) })
      assert.equal(
        diagnostics.filter(({ severity }) => severity === 'error'),
        [],
        text,
      )
    }
  })

/** Commands as pages show them: lines of code blocks and spans of code that begin with `terge`. */
function commandsOf(text: string): string[] {
  // Odd pieces are within fences.
  const blocks = text.split(/^ *```.*$/m).filter((_, index) => index % 2 === 1)
  const lines = blocks.flatMap((block) => [...block.matchAll(/^ *(?:\$ |npx )?terge ([a-z].*)$/gm)])
  return [...lines, ...text.matchAll(/`terge ([a-z][^`]*)`/g)].map(([, command]) =>
    command!.replace(/\s+#.*/, '').trim(),
  )
}

test('commands in README and docs use commands and flags that exist', async () => {
  for (const file of markdown)
    for (const command of commandsOf(read(file))) {
      const [name, ...words] = command.split(' ')
      const known = COMMANDS[name as keyof typeof COMMANDS]
      assert.ok(known, `${file}: terge ${command}`)
      const { flags = {} } = await known()
      const names = Object.entries(flags).flatMap(([long, { char }]) => [`--${long}`, ...(char ? [`-${char}`] : [])])
      for (const word of words.filter((word) => /^--?[a-z]/.test(word)))
        assert.ok([...names, '--help'].includes(word.split('=')[0]!), `${file}: terge ${command} has no ${word}`)
    }
})

/** A single page may be a little above the goal for all pages: a short page has few sentences. */
const GOAL = { average: 18, share: 0.08 }
const PAGE = { average: 18, share: 0.12 }

for (const file of [...markdown, 'all pages'])
  test(`${file}: sentences are short`, () => {
    const text = file === 'all pages' ? markdown.map(read).join('\n\n') : read(file)
    const goal = file === 'all pages' ? GOAL : PAGE
    const { average, share, long } = measure(text)
    assert.ok(average <= goal.average, `${average.toFixed(1)} words per sentence; ${goal.average} is the goal`)
    const found = `${(100 * share).toFixed(1)} % of sentences have over 30 words; ${100 * goal.share} % is the goal`
    assert.ok(share <= goal.share, `${found}:\n${long.map((sentence) => sentence.text).join('\n')}`)
  })

test('README.md has at most 250 lines and the two commands of the setup', () => {
  const text = read('README.md')
  assert.ok(text.includes(`**[${listMethods().length} merge methods]`))
  assert.ok(text.split('\n').length <= 251)
  for (const command of ['node bin/run.js run recipes/quickstart/ties.yml --allow-commands --force', 'npm test'])
    assert.ok(text.includes(`\nnpm ci && ${command}\n`))
})

test('every environment variable that terge reads is documented, and no other', () => {
  const used = new Set<string>()
  const sources = readdirSync(path.join(root, 'src'), { recursive: true, encoding: 'utf8' })
  for (const name of sources.filter((name) => name.endsWith('.ts')))
    for (const [, variable] of read(`src/${name}`).matchAll(/\benv(?:ironment)?(?:\.|\[')([A-Z][A-Z\d_]+)/g))
      used.add(variable!)
  const page = read('docs/hub-and-environment.md').split('## Environment variables')[1]!.split('\n## ')[0]!
  const documented = [...page.matchAll(/^\| `([A-Z\d_]+)` \|/gm)].map(([, name]) => name!)
  // Read by the libraries that write to terminals, if terge itself does not.
  for (const name of ['NO_COLOR', 'FORCE_COLOR']) used.add(name)
  assert.equal([...documented].sort(), [...used].sort())
})

test('the pictures show what terge prints now', () => {
  const { terminal, page } = pictures.sources()
  const hint = 'node scripts/pictures.mjs --write makes the pictures again'
  assert.is(pictures.committed().terminal, terminal, hint)
  assert.is(pictures.committed().page, pictures.digest(page), hint)
})

test.run()
