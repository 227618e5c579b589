/** Editors get the schema that is checked (except for permutation specs), and it follows the conventions for error messages. */
import { readFileSync } from 'node:fs'
import { Ajv } from 'ajv'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { forEditors } from '../../src/language/schemaParts.js'
import { allParameters, METHODS } from '../../src/methods/registry.js'
import { specSchema } from '../../src/rebasin/spec.js'
import { recipeSchema, type Schema } from '../../src/recipe/schema.js'
import validate from '../../src/recipe/schema-validator.js'

const file = new URL('../../../schemas/recipe.v1.schema.json', import.meta.url)
const { version } = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')) as {
  version: string
}

test('the committed file is the generated one (node scripts/schema.mjs --write)', () => {
  // assert.equal would print thousands of lines.
  const made = forEditors(recipeSchema(), `https://unpkg.com/terge@${version}/schemas/recipe.v1.schema.json`)
  const same = readFileSync(file, 'utf8') === `${JSON.stringify(made, null, 2)}\n`
  assert.ok(same, 'schemas/recipe.v1.schema.json is out of date')
})

const all = function* (at: unknown, pointer = '#'): Generator<[string, Schema]> {
  if (typeof at !== 'object' || at === null) return
  if (!Array.isArray(at)) yield [pointer, at as Schema]
  for (const [key, value] of Object.entries(at)) yield* all(value, `${pointer}/${key}`)
}
const nodes = [...all(recipeSchema())]
const follow = (schema: Schema): Schema => {
  const { $ref } = schema as { $ref?: string }
  return $ref === undefined ? schema : (nodes.find(([pointer]) => pointer === $ref)?.[1] ?? {})
}

test('the branches of a union have different types', () => {
  for (const [pointer, { anyOf }] of nodes) {
    if (!Array.isArray(anyOf)) continue
    const types = anyOf.flatMap((branch) => (follow(branch).type ?? []) as string | string[])
    assert.ok(types.length >= anyOf.length, pointer)
    assert.is(new Set(types).size, types.length, pointer)
  }
})

test('no mapping accepts unknown keys, and every key has a description', () => {
  for (const [pointer, node] of nodes) {
    if (/\/(properties|if|then)(\/parameters)?$|\/if\//.test(pointer) && node.type === undefined) continue
    if (node.properties === undefined || pointer.includes('/if') || pointer.includes('/then')) continue
    // A formula has parameters of any name.
    if (pointer.endsWith('/parameters-formula')) assert.is(typeof node.additionalProperties, 'object')
    else assert.is(node.additionalProperties, false, pointer)
    for (const [key, value] of Object.entries(node.properties as Record<string, Schema>)) {
      const schema = follow(value)
      assert.ok(value.description ?? schema.description ?? schema.title ?? schema.enum, `${pointer}: ${key}`)
    }
  }
})

test('editors get the schema of permutation specs, and their reader reports the errors', () => {
  const { $defs } = recipeSchema() as { $defs: Record<string, Schema> }
  assert.is($defs.spec, specSchema)
  const rebasin = { model: 'b', onto: 'a', spec: { tenors: 1 } }
  assert.is(validate({ terge: 1, models: { a: 'a', b: 'b' }, rebasin, merge: { method: 'linear' } }), true)
})

test("the methods' parameters come from the registry", () => {
  const { $defs } = recipeSchema() as { $defs: Record<string, { properties: object }> }
  for (const method of METHODS) {
    const names = Object.keys($defs[`parameters-${method.name}`]?.properties ?? {}).filter((name) => name !== 'lines')
    assert.equal(
      names,
      allParameters(method).map(({ name }) => name),
    )
  }
})

/** As an editor reads it. The two keywords are of yaml-language-server; other validators ignore them. */
const editorValidate = () => {
  const ajv = new Ajv({ strict: true, strictTypes: false, strictRequired: false, unicodeRegExp: true })
  for (const keyword of ['errorMessage', 'doNotSuggest']) ajv.addKeyword(keyword)
  return ajv.compile(JSON.parse(readFileSync(file, 'utf8')) as Schema)
}

test('the published file is a strict schema without titles, at an address with the version of the package', () => {
  const valid = editorValidate()
  const recipe = (parameters: unknown) => ({
    terge: 1,
    models: { a: 'a', b: 'b' },
    merge: { method: 'slerp', parameters },
    output: 'out',
  })
  assert.is(valid(recipe({ t: [0, 1] })), true)
  assert.is(valid(recipe({ tt: 1 })), false)
  assert.is(valid(recipe({})), false)
  const published = JSON.parse(readFileSync(file, 'utf8')) as Schema
  assert.is(published.$id, `https://unpkg.com/terge@${version}/schemas/recipe.v1.schema.json`)
  assert.equal(
    [...all(published)].flatMap(([pointer, { title }]) => (typeof title === 'string' ? [pointer] : [])),
    [],
  )
})

test.run()
