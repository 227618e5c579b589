/**
 * What editors check and complete for `merge` and its rules by their method. terge itself checks it where the method is
 * known (`read.ts`, `parameters.ts`), with better messages.
 */
import { about, ref, type Schema, when, without } from '../../language/schemaParts.js'
import { METHODS } from '../../methods/registry.js'
import type { Method } from '../../methods/types.js'

const sentence = (text: string): string => `${text[0]!.toUpperCase()}${text.slice(1)}.`

/** Every name of a method, with what it does. */
export const METHOD_CONSTANTS: readonly Schema[] = METHODS.flatMap(({ name, aliases, summary }) => [
  { const: name, description: sentence(summary) },
  ...aliases.map((alias) => ({ const: alias, description: `Another name of ${name}: ${summary}.` })),
])

const namesOf = ({ name, aliases }: Method): readonly string[] => [name, ...aliases]
const isMethod = (...methods: readonly Method[]): Schema => ({
  properties: { method: { enum: methods.flatMap(namesOf) } },
  required: ['method'],
})
const requiredOf = ({ parameters }: Method): string[] =>
  parameters.filter((parameter) => parameter.default === undefined).map(({ name }) => name)
const strict = METHODS.filter((method) => requiredOf(method).length > 0)
const needsParameters = (method: Method): Schema => ({
  required: ['parameters'],
  ...about({ parameters: { required: requiredOf(method) } }),
})

/** The parameters and, for methods without weights, no `weights`. */
const settingsOf = (method: Method): Schema => ({
  properties: { parameters: ref(`parameters-${method.name}`) },
  ...(method.weights ? {} : { allOf: [{ ...without('weights'), errorMessage: `${method.name} has no weights.` }] }),
})
/**
 * How many models a list may name. A list may contain the base of a task-vector method, which does not count. One name can be a pattern
 * that matches many models.
 */
const countOf = ({ models: { least, most }, base }: Method): Schema =>
  about({
    models: most === undefined ? { minItems: 1 } : { minItems: least, maxItems: most + (base === 'required' ? 1 : 0) },
  })

/** A rule without a method has the settings of the merge. */
const inherited = (method: Method): Schema =>
  about({ rules: { items: when({ not: { required: ['method'] } }, settingsOf(method)) } })
/** A rule with another method than the merge has none of its parameters. */
const otherMethod = (method: Method): Schema =>
  when({ not: isMethod(method) }, about({ rules: { items: when(isMethod(method), needsParameters(method)) } }))

/** Methods on task vectors need a base too, but not for adapters, which only their files show. */
const based = METHODS.filter(({ base }) => base === 'listed')
const NO_BASE = about({
  method: {
    pattern: `^(?!(?:${based.flatMap(namesOf).join('|')})$)`,
    errorMessage: 'This method requires a base model: write base: NAME.',
  },
})
/** For a merge in a recipe without `base`. */
export const withoutBase: Schema = when(
  { not: { required: ['base'] } },
  { allOf: [NO_BASE, about({ rules: { items: NO_BASE } })] },
)

export const mergeRules: readonly Schema[] = [
  ...METHODS.map((method) =>
    when(isMethod(method), { allOf: [settingsOf(method), countOf(method), inherited(method)] }),
  ),
  ...strict.flatMap((method) => [when(isMethod(method), needsParameters(method)), otherMethod(method)]),
]
export const ruleRules: readonly Schema[] = METHODS.map((method) =>
  when(isMethod(method), { allOf: [settingsOf(method), countOf(method)] }),
)
