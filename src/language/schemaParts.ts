/** Building blocks of the recipe's schema. */

/** Where a schema differs in editors: keywords that replace or, if undefined, remove its own. Validators don't see symbols. */
const EDITOR = Symbol('editor')

export interface Schema {
  readonly [key: string]: unknown
  readonly [EDITOR]?: Schema
}

export const ref = (name: string): Schema => ({ $ref: `#/$defs/${name}` })
/** A string that is not blank. A pattern, because counting characters would make the compiled schema import code. */
export const text = (description: string): Schema => ({
  type: 'string',
  pattern: '\\S',
  title: 'a string',
  description,
})
export const object = (properties: Schema, required: string[], description: string): Schema => ({
  type: 'object',
  properties,
  required,
  additionalProperties: false,
  description,
})
export const several = (title: string, description: string, ...anyOf: Schema[]): Schema => ({
  title,
  description,
  anyOf,
})
/** A share of a squared norm, which decides a rank. */
export const energy = (description: string): Schema => ({
  type: 'number',
  exclusiveMinimum: 0,
  maximum: 1,
  title: 'a number above 0, at most 1',
  description,
})
export const listOf = (items: Schema, least = 1): Schema => ({ type: 'array', items, minItems: least })

/**
 * A schema that editors get with other keywords. They get the rules that readers check with better messages, and
 * values to complete. `undefined` removes a keyword.
 */
export const inEditors = (schema: Schema, there: Schema): Schema => ({
  ...schema,
  [EDITOR]: { ...schema[EDITOR], ...there },
})

/** Values, and a sentence for each. Editors show it where the value is completed, and where the mouse rests on it. */
export type Sentences = Readonly<Record<string, string>>
const constants = (sentences: Sentences): Schema[] =>
  Object.entries(sentences).map(([value, description]) => ({ const: value, description }))

/** One of some words. */
export const word = (sentences: Sentences, rest: Schema): Schema =>
  inEditors({ enum: Object.keys(sentences), ...rest }, { enum: undefined, anyOf: constants(sentences) })

/** Any string. Editors offer some words. */
export const textOrWord = (description: string, sentences: Sentences): Schema =>
  inEditors(text(description), {
    type: undefined,
    pattern: undefined,
    anyOf: [
      ...constants(sentences),
      // Only one branch fits a word, and editors show its sentence.
      { ...text(description), pattern: `^(?!(?:${Object.keys(sentences).join('|')})$)[\\s\\S]*\\S` },
    ],
  })

/** `if`, `then` and `else`. */
export const when = (condition: Schema, yes: Schema, no?: Schema): Schema => ({
  if: condition,
  // biome-ignore lint/suspicious/noThenProperty: a keyword of JSON Schema
  then: yes,
  ...(no === undefined ? {} : { else: no }),
})

/** At least one of these keys. `errorMessage` is a keyword of editors. */
export const needsAny = (errorMessage: string, ...keys: readonly string[]): Schema => ({
  anyOf: keys.map((key) => ({ required: [key], errorMessage })),
})
/** Exactly one of these keys. A second one is marked, and not the mapping as `oneOf` would do. */
export const needsOne = (errorMessage: string, ...keys: readonly string[]): Schema => ({
  ...needsAny(errorMessage, ...keys),
  allOf: keys
    .slice(0, -1)
    .map((key, at) => when({ required: [key] }, { ...without(...keys.slice(at + 1)), errorMessage })),
})
/** None of these keys. */
export const without = (...keys: readonly string[]): Schema => ({
  properties: Object.fromEntries(keys.map((key) => [key, false])),
})
/** Further conditions for values of keys. Editors do not offer the keys a second time. */
export const about = (properties: Readonly<Record<string, Schema>>): Schema => ({
  properties: Object.fromEntries(
    Object.entries(properties).map(([key, schema]) => [key, { ...schema, doNotSuggest: true }]),
  ),
})

/** Keywords whose values are schemas by name. */
const NAMED = ['properties', '$defs']
const isSchema = (value: unknown): value is Schema => typeof value === 'object' && value !== null

/** The schema that editors get, without titles: editors would offer them as values. `$id`: its address. */
export function forEditors(schema: Schema, $id?: string): Schema {
  const { title: _, $schema, ...own }: Schema = { ...schema, ...schema[EDITOR] }
  const entries = Object.entries({ $schema, $id, ...own }).filter(([, value]) => value !== undefined)
  return Object.fromEntries(entries.map(([key, value]) => [key, keywordForEditors(key, value)]))
}

/** The branches of a union within a union. Editors show the sentence of a branch only for the outer one. */
const branchesOf = (branch: unknown): unknown => {
  const { anyOf, description: _, ...rest } = isSchema(branch) ? branch : {}
  return Array.isArray(anyOf) && Object.keys(rest).length === 0 ? anyOf : [branch]
}

function keywordForEditors(key: string, value: unknown): unknown {
  if (Array.isArray(value)) {
    const inner = value.map((one: unknown) => (isSchema(one) ? forEditors(one) : one))
    return key === 'anyOf' ? inner.flatMap(branchesOf) : inner
  }
  if (!isSchema(value) || key === 'const') return value
  if (!NAMED.includes(key)) return forEditors(value)
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => [name, isSchema(inner) ? forEditors(inner) : inner]),
  )
}
