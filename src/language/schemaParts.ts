/** Building blocks of the recipe's schema. */
export type Schema = { readonly [key: string]: unknown }

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
export const listOf = (items: Schema, least = 1): Schema => ({ type: 'array', items, minItems: least })
