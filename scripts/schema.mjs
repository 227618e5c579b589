// Compiles the recipe's schema (dist/src/recipe/schema.js) to a validator without dependencies, part of every build.
// `node scripts/schema.mjs --write` also writes schemas/recipe.v1.schema.json, the file that editors read.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { Ajv } from 'ajv'
import standalone from 'ajv/dist/standalone/index.js'

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)))
const load = (name) => import(pathToFileURL(path.join(root, `dist/src/${name}.js`)).href)
const { checkedSchema, recipeSchema } = await load('recipe/schema')
const { forEditors } = await load('language/schemaParts')

const { version } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'))

const ajv = new Ajv({
  strict: true,
  // Parts of a mapping that `if` looks at, and revisions that look like numbers.
  strictTypes: false,
  strictRequired: false,
  allErrors: true,
  messages: false,
  unicodeRegExp: true,
  // One function a definition: written out wherever one is used, they make a file that takes long to load.
  inlineRefs: false,
  code: { source: true, esm: true, lines: false, optimize: 2 },
})
const code = standalone.default(ajv, ajv.compile(checkedSchema()))
if (/\brequire\(|^import /m.test(code)) throw new Error('internal: the compiled schema wants an import')
writeFileSync(path.join(root, 'dist/src/recipe/schema-validator.js'), code)

if (process.argv.includes('--write')) {
  mkdirSync(path.join(root, 'schemas'), { recursive: true })
  const name = 'schemas/recipe.v1.schema.json'
  const schema = forEditors(recipeSchema(), `https://unpkg.com/terge@${version}/${name}`)
  writeFileSync(path.join(root, name), `${JSON.stringify(schema, null, 2)}\n`)
}
