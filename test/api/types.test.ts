/** The public types, as somebody who installed terge sees them: no file of the repository beside what is published. */
import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { codeBlocks } from '../support/documents.js'
import { inFolder } from '../support/files.js'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const CONSUMER = path.join(root, 'test/api/consumer.mts')
const EXAMPLES = path.join(root, 'scripts/api/examples')

const STRICT = {
  strict: true,
  noUncheckedIndexedAccess: true,
  exactOptionalPropertyTypes: true,
  skipLibCheck: false,
  noUnusedLocals: true,
  module: 'NodeNext',
  moduleResolution: 'NodeNext',
  target: 'ES2022',
  noEmit: true,
}

const tsc = (cwd: string, args: readonly string[]) =>
  spawnSync(process.execPath, [path.join(root, 'node_modules/typescript/bin/tsc'), ...args], { cwd, encoding: 'utf8' })

/** A folder with terge installed: its declarations, and `@types/node` for those who want it. */
function install(folder: string): void {
  const terge = path.join(folder, 'node_modules/terge')
  mkdirSync(path.join(folder, 'node_modules/@types'), { recursive: true })
  const declarations = path.join(root, 'dist/src')
  cpSync(declarations, path.join(terge, 'dist/src'), {
    recursive: true,
    filter: (file) => !path.extname(file) || file.endsWith('.d.ts'),
  })
  cpSync(path.join(root, 'package.json'), path.join(terge, 'package.json'))
  symlinkSync(path.join(root, 'node_modules/@types/node'), path.join(folder, 'node_modules/@types/node'))
}

function compile(folder: string, name: string, files: string | readonly string[], options: object): string {
  writeFileSync(
    path.join(folder, `${name}.json`),
    JSON.stringify({ compilerOptions: { ...STRICT, ...options }, files: [files].flat() }),
  )
  return tsc(folder, ['-p', `${name}.json`]).stdout
}

test('a program that uses every export and all examples compile: without other types, with those of Node, with those of a browser', () =>
  inFolder((folder) => {
    install(folder)
    cpSync(CONSUMER, path.join(folder, 'consumer.mts'))
    assert.is(compile(folder, 'bare', 'consumer.mts', { lib: ['ES2023'], types: [] }), '')
    assert.is(compile(folder, 'node', 'consumer.mts', { lib: ['ES2023'], types: ['node'] }), '')
    assert.is(compile(folder, 'browser', 'consumer.mts', { lib: ['ES2023', 'DOM'], types: [] }), '')
    // Literally as on the pages, as JavaScript and as TypeScript.
    const shown = ['README.md', 'docs/library.md'].flatMap((page) =>
      codeBlocks(readFileSync(path.join(root, page), 'utf8'), 'js'),
    )
    assert.is(shown.length, 2)
    const examples = readdirSync(EXAMPLES).map((name) => readFileSync(path.join(EXAMPLES, name), 'utf8'))
    const files = [...shown, ...examples].flatMap((text, index) =>
      ['mjs', 'mts'].map((extension) => {
        writeFileSync(path.join(folder, `example${index}.${extension}`), text)
        return `example${index}.${extension}`
      }),
    )
    const options = { lib: ['ES2023'], types: ['node'], allowJs: true, checkJs: true }
    assert.is(compile(folder, 'examples', files, options), '')
  }))

/** Names that src/index.ts exports. */
const exported = [...readFileSync(path.join(root, 'src/index.ts'), 'utf8').matchAll(/^export (?:type )?\{([^}]*)\}/gm)]
  .flatMap(([, list]) => list!.split(','))
  .map((name) => name.trim().replace(/^type /, ''))
  .filter((name) => name !== '')

test('the program that is compiled uses every export', () => {
  assert.ok(exported.length > 60, `${exported.length} exports`)
  const [imports, code] = readFileSync(CONSUMER, 'utf8').split(" from 'terge'\n") as [string, string]
  const uses = (text: string, name: string): boolean => new RegExp(`\\b${name}\\b`).test(text)
  assert.equal(
    exported.filter((name) => !uses(imports, name) || !uses(code, name)),
    [],
  )
})

test('every export has a comment that says what it is', () => {
  const index = readFileSync(path.join(root, 'src/index.ts'), 'utf8')
  const files = [...index.matchAll(/^export (?:type )?\{([^}]*)\} from '\.\/([^']+)\.js'/gm)]
  const bare = files.flatMap(([, list, file]) => {
    const text = readFileSync(path.join(root, 'src', `${file}.ts`), 'utf8')
    return list!
      .split(',')
      .map((name) => name.trim().replace(/^type /, ''))
      .filter((name) => name !== '')
      .filter(
        (name) =>
          !new RegExp(
            `\\*/\\nexport (declare |async |abstract )?(interface|type|function\\*?|const|class) ${name}\\b`,
          ).test(text),
      )
      .map((name) => `${file}: ${name}`)
  })
  assert.equal(bare, [])
})

test.run()
