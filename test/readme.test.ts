/** README.md and docs/ say what the program says. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { load } from '../src/index.js'

const root = fileURLToPath(new URL('../../', import.meta.url))
// JavaScript of the scripts folder: run from where it lies, not compiled.
const script: string = new URL('../../scripts/readme.mjs', import.meta.url).href
const { FILES, made } = (await import(script)) as { FILES: string[]; made: (file: string) => Promise<string> }

for (const file of FILES) {
  test(`${file} is up to date`, async () => {
    assert.is(
      await made(file),
      readFileSync(path.join(root, file), 'utf8'),
      'npm run readme writes the made parts anew',
    )
  })

  test(`${file}: what it links to is there`, () => {
    const text = readFileSync(path.join(root, file), 'utf8')
    const links = [...text.matchAll(/\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)/g)].map(([, link]) => link!)
    for (const link of links) assert.not.throws(() => readFileSync(path.join(root, path.dirname(file), link)), link)
  })
}

for (const file of ['README.md', 'docs/recipe-language.md'])
  test(`${file}: its recipes are valid`, () => {
    const blocks = readFileSync(path.join(root, file), 'utf8').matchAll(/^```yaml\n([\s\S]*?)^```$/gm)
    const recipes = [...blocks].map(([, text]) => text!)
    assert.ok(recipes.length > 1)
    for (const text of recipes) {
      assert.equal(load('recipe.yml', { text }).diagnostics, [], text)
    }
  })

test.run()
