/** Made by `scripts/schema.mjs` from `schema.ts` at build time, so that no start-up pays for compiling a schema. */
export interface SchemaError {
  readonly keyword: string
  readonly instancePath: string
  readonly schemaPath: string
  readonly params: Readonly<Record<string, unknown>>
}
declare const validate: {
  (data: unknown): boolean
  errors?: SchemaError[] | null
}
export default validate
