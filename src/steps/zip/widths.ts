/** The width of each group of the result, and what happens with its units. */
import { recordOf } from '../../core/collections/ownValue.js'
import { nearNamesHint } from '../../core/names/nearNames.js'
import { quote } from '../../core/suggest.js'
import { LARGEST_SQUARE } from '../../kernels/linalg.js'
import type { Faults } from '../../language/faults.js'
import type { RecipeHead } from '../../language/types.js'
import { rootGroups } from '../../rebasin/apply.js'
import type { Shapes, Spec } from '../../rebasin/spec.js'
import type { Treatment, ZipGroup } from '../../rebasin/zip/network.js'
import { normedGroups } from './roles.js'
import type { Width, WidthRule, ZipStep } from './types.js'

export interface Planned {
  readonly groups: Readonly<Record<string, ZipGroup>>
  readonly kept: Readonly<Record<string, string>>
}

/**
 * Errors: `zip-width` for a width that a group can't have, `no-match` for a pattern without a group, `nothing-to-zip`.
 * Warning: `zip-kept` for groups that keep their size although another one was asked for, or whose units keep their order.
 */
export function planWidths(
  recipe: RecipeHead,
  step: ZipStep,
  specs: readonly Spec[],
  shapes: Shapes,
  faults: Faults,
): Planned | undefined {
  const [spec] = specs
  const names = rootGroups(spec!)
  let fits = true
  for (const { match } of step.widths)
    if (match && !names.some((name) => match.pattern.matches(name))) {
      const hint = nearNamesHint(match.pattern.text, names) ?? 'terge inspect MODEL --spec lists the groups'
      faults.error(
        'no-match',
        `the pattern ${quote(match.pattern.text)} matches no group`,
        recipe.placeOf(match.at, 'key'),
        hint,
      )
      fits = false
    }
  const nested = new Set(Object.values(spec!.groups).flatMap(({ inside }) => inside ?? []))
  const normed = normedGroups(spec!, shapes)
  const kept: Record<string, string> = { ...spec!.kept }
  const groups = names.map((name): readonly [string, ZipGroup] => {
    const sizes = specs.map(({ groups }) => groups[name]!.size)
    const rule = step.widths.find(({ match }) => !match || match.pattern.matches(name))
    const wanted = rule?.width ?? 'larger'
    const norm = normed.get(name)
    const [treatment, why]: [Treatment, string | undefined] = nested.has(name)
      ? ['keep', 'its units are attention heads or have other groups inside them, so they keep their order']
      : wanted === 'keep'
        ? ['keep', 'the recipe keeps it']
        : norm !== undefined
          ? ['pair', `the norm ${norm} depends on all of its units together, so each is merged with one of each model`]
          : ['zip', undefined]
    const width = treatment === 'zip' ? widthOf(wanted, sizes) : sizes[0]!
    if (why !== undefined) kept[name] = why
    if (!possible(recipe, step, name, { treatment, sizes, width }, wanted, rule, why, faults)) fits = false
    return [name, { treatment, sizes, width }]
  })
  if (!fits) return undefined
  if (!groups.some(([, { treatment }]) => treatment === 'zip')) {
    const why = names.length === 0 ? 'the spec has no group' : `${names[0]}: ${kept[names[0]!] ?? ''}`
    faults.error(
      'nothing-to-zip',
      `no group of ${step.models[0]} can be zipped: ${why}`,
      recipe.placeOf(step.at, 'key'),
      'align the models with rebasin and merge them',
    )
    return undefined
  }
  warnOfKept(recipe, step, groups, nested, faults)
  return { groups: recordOf(groups), kept }
}

function widthOf(wanted: Width, sizes: readonly number[]): number {
  const [largest, smallest] = [Math.max(...sizes), Math.min(...sizes)]
  if (typeof wanted === 'number') return wanted
  if (typeof wanted === 'object') return Math.max(1, Math.round((largest * wanted.percent) / 100))
  return wanted === 'sum' ? sizes.reduce((sum, size) => sum + size, 0) : wanted === 'smaller' ? smallest : largest
}

function possible(
  recipe: RecipeHead,
  step: ZipStep,
  name: string,
  { treatment, sizes, width }: ZipGroup,
  wanted: Width,
  rule: WidthRule | undefined,
  why: string | undefined,
  faults: Faults,
): boolean {
  const sum = sizes.reduce((total, size) => total + size, 0)
  const place = recipe.placeOf(rule?.at ?? step.at, rule ? 'value' : 'key')
  const refuse = (message: string, hint: string) => {
    faults.error('zip-width', `group ${name}: ${message}`, place, hint)
    return false
  }
  const listed = sizes.map((size, model) => `${size} in ${step.models[model]}`).join(', ')
  if (treatment !== 'zip') {
    if (new Set(sizes).size > 1)
      return refuse(
        `it has ${listed} units, but needs the same number in all models: ${why}`,
        'zip models with the same size there',
      )
    const own =
      typeof wanted === 'number' || (rule?.match && wanted !== 'keep') ? widthOf(wanted as Width, sizes) : width
    if (own !== width)
      return refuse(`its width can’t be ${own}: ${why}`, `give it the width keep, and other groups the width ${own}`)
    return true
  }
  if (width > sum)
    return refuse(`${width} units are more than the models have together: ${listed}`, `write ${sum} or less`)
  const least = step.method === 'pleas' ? Math.max(...sizes) : 1
  if (width < least)
    return refuse(
      `pleas merges no units of one model, so ${width} units are too few: ${listed}`,
      `write ${least} or more, or use method: zipit`,
    )
  if (sum > LARGEST_SQUARE) {
    faults.error(
      'group-too-large',
      `group ${name} has ${sum} units in all models; the limit is ${LARGEST_SQUARE}`,
      place,
      'write a spec that leaves this group out',
    )
    return false
  }
  return true
}

function warnOfKept(
  recipe: RecipeHead,
  step: ZipStep,
  groups: readonly (readonly [string, ZipGroup])[],
  nested: ReadonlySet<string>,
  faults: Faults,
): void {
  const rule = (name: string) =>
    step.widths.find(({ match }) => !match || match.pattern.matches(name))?.width ?? 'larger'
  const heads = groups.filter(([name]) => nested.has(name) && rule(name) !== 'keep')
  if (heads.length > 0)
    faults.warn(
      'zip-kept',
      `${step.name} averages the attention heads of ${heads[0]![0]}${heads.length > 1 ? ` and ${heads.length - 1} more groups` : ''} in their order: it does not match them`,
      recipe.placeOf(step.at, 'key'),
      'align the models with rebasin first; write width: {GROUP: keep, "**": larger} to say that they are aligned',
      'heads',
    )
  const same = groups.filter(
    ([name, { treatment, sizes, width }]) => treatment === 'pair' && widthOf(rule(name), sizes) !== width,
  )
  if (same.length > 0)
    faults.warn(
      'zip-kept',
      `${step.name} keeps the width of ${same[0]![0]}${same.length > 1 ? ` and ${same.length - 1} more groups` : ''}: a norm depends on all of their units together`,
      recipe.placeOf(step.widths[0]?.at ?? step.at, 'value'),
      'terge plan gives the reasons',
      'norms',
    )
}
