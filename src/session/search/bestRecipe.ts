/** The recipe of a trial, as a text without a search. */
import { isDeepStrictEqual } from 'node:util'
import { fault } from '../../core/diagnostics.js'
import { quote } from '../../core/suggest.js'
import { type Edit, editedText } from '../../language/edit.js'
import { applyOverrides, pathOf, readPath } from '../../language/overrides.js'
import { readText } from '../../language/source.js'
import { nodeAt, toPlain } from '../../language/tree.js'
import type { RecipeDimension } from '../../recipe/search/types.js'
import type { Recipe } from '../../recipe/types.js'
import type { Point } from '../../search/types.js'

/** A value as `--set` has it. */
export const setText = ({ path }: Pick<RecipeDimension, 'path'>, value: Point[number]): string =>
  `${path}=${JSON.stringify(value)}`

/** What `--set` changes, without what it changes of the search. */
function overridesOf(recipe: Recipe): readonly { readonly set: string; readonly names: readonly string[] }[] {
  return recipe.overrides.flatMap((set) => {
    const names = keysOf(set)
    return names[0] === 'search' ? [] : [{ set, names }]
  })
}

/** The keys before the first `=` that ends a path. */
function keysOf(set: string): readonly string[] {
  for (let at = set.indexOf('='); at >= 0; at = set.indexOf('=', at + 1)) {
    const names = readPath(set.slice(0, at))
    if (names) return names
  }
  return []
}

/** The recipe with other values as plain data, without its search. */
export function plainVariant(recipe: Recipe, point: Point): Readonly<Record<string, unknown>> {
  const { dimensions, evaluate } = recipe.search!
  const { root } = readText(recipe.file, recipe.text)
  const sets = [...overridesOf(recipe).map(({ set }) => set), ...dimensions.map((one, at) => setText(one, point[at]!))]
  const { search: _, ...rest } = toPlain(applyOverrides(root!, sets).root) as Record<string, unknown>
  return evaluate ? { ...rest, evaluate: plainCommand(evaluate) } : rest
}

/** A command as a recipe has it. */
export const plainCommand = ({
  command,
  env,
  timeout,
}: NonNullable<NonNullable<Recipe['search']>['evaluate']>): object => ({
  ...{ command },
  ...(env ? { env } : {}),
  ...(timeout === undefined ? {} : { timeout }),
})

/**
 * The text of the recipe with the values of a point and of `--set`, without its search. Comments stay. Error: `bad-override` if the text
 * has no place for a value.
 */
export function recipeText(recipe: Recipe, point: Point): string {
  const { dimensions, evaluate } = recipe.search!
  const { root } = readText(recipe.file, recipe.text)
  const values = new Map<string, Edit>()
  const sets = overridesOf(recipe)
  for (const { set, names } of sets) {
    const to = pathOf(root!, names)
    const value = nodeAt(applyOverrides(root!, [set]).root, to)
    values.set(JSON.stringify(to), { to, value: value && toPlain(value) })
  }
  for (const [at, { to }] of dimensions.entries()) values.set(JSON.stringify(to), { to, value: point[at]! })
  const instead = evaluate ? { key: 'evaluate', value: plainCommand(evaluate) } : undefined
  const text = editedText(recipe.text, [...values.values()], 'search', instead)
  const made = text === undefined ? undefined : readText(recipe.file, text).root
  if (text !== undefined && made && isDeepStrictEqual(asJson(toPlain(made)), asJson(plainVariant(recipe, point))))
    return text
  const [first] = sets
  throw fault(
    'bad-override',
    first
      ? `--set ${quote(first.set)}: the recipe has no such value that a search could write into the best recipe`
      : 'the values of the search cannot be written into the text of the recipe',
    first ? 'write it in the recipe' : 'write the recipe in block style, one key per line',
  )
}

/** Without prototypes, which do not matter here. */
const asJson = (value: unknown): unknown => JSON.parse(JSON.stringify(value))
