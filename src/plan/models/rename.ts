import type { Checkpoint, LogicalTensor } from '../../checkpoints/types.js'
import { nearNamesHint } from '../../core/names/nearNames.js'
import { compileRename, type Rename } from '../../core/rename.js'
import { quote } from '../../core/suggest.js'
import type { Faults } from '../../language/faults.js'
import type { ModelSource } from '../../language/types.js'
import type { Recipe } from '../../recipe/types.js'

/**
 * A checkpoint's tensors with the names that the recipe gives them, sorted by the new names. First `strip_prefix`
 * applies, then the first `rename` rule that matches.
 * Errors: `no-match` for a prefix or rule that matches no tensor, `bad-pattern`, `name-taken` if two tensors would have
 * the same name.
 */
export function renamedTensors(
  recipe: Recipe,
  source: ModelSource,
  tensors: Checkpoint['tensors'],
  faults: Faults,
): readonly (readonly [name: string, tensor: LogicalTensor])[] {
  const { stripPrefix = '', rename, at } = source
  const stored = [...tensors.values()]
  if (stripPrefix === '' && rename.length === 0) return stored.map((tensor) => [tensor.name, tensor])
  const names = stored.map(({ name }) => name)
  if (stripPrefix !== '' && !names.some((name) => name.startsWith(stripPrefix))) {
    const message = `no tensor of ${quote(source.name)} starts with ${quote(stripPrefix)}`
    faults.error('no-match', message, recipe.placeOf([...at, 'strip_prefix']), nearNamesHint(`${stripPrefix}**`, names))
  }
  const bare = names.map((name) => (name.startsWith(stripPrefix) ? name.slice(stripPrefix.length) : name))
  const rules = rename.flatMap(
    ({ from, to }, index): { readonly rule: Rename; hits: number; readonly index: number }[] => {
      const rule = compileRename(from, to)
      if (typeof rule === 'function') return [{ rule, hits: 0, index }]
      faults.error('bad-pattern', rule.message, recipe.placeOf([...at, 'rename', index, 'from']))
      return []
    },
  )
  const renamed = bare.map((name) => {
    for (const entry of rules) {
      const next = entry.rule(name)
      if (next === undefined) continue
      entry.hits++
      return next
    }
    return name
  })
  for (const { hits, index } of rules) {
    if (hits > 0) continue
    const { from } = rename[index]!
    const message = `the pattern ${quote(from)} matches no tensor of ${quote(source.name)}, or only those that earlier rules rename`
    faults.error('no-match', message, recipe.placeOf([...at, 'rename', index, 'from']), nearNamesHint(from, bare))
  }
  const taken = new Map<string, string>()
  for (const [index, name] of renamed.entries()) {
    const other = taken.get(name)
    if (other !== undefined || name === '') {
      const message =
        name === ''
          ? `${quote(names[index]!)} would have no name`
          : `${quote(other!)} and ${quote(names[index]!)} would both be ${quote(name)}`
      faults.error(
        'name-taken',
        `${source.name}: ${message}`,
        recipe.placeOf(at, 'key'),
        'give each tensor a unique name',
      )
    }
    taken.set(name, names[index]!)
  }
  return renamed.map((name, index) => [name, stored[index]!] as const).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
}
