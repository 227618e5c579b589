import type { LogicalTensor } from '../../checkpoints/types.js'
import { isFloat } from '../../encodings/index.js'
import { sameShape } from '../../expr/values.js'
import type { Faults } from '../../language/faults.js'
import type { ModelSource } from '../../language/types.js'
import type { Recipe } from '../../recipe/types.js'

/** A model's tensors by the names that they are read under. */
export type Named = readonly (readonly [name: string, tensor: LogicalTensor])[]

/** Names that are looked at to choose among prefixes; the choice then holds for all. */
const SAMPLE = 2000
/** One tensor alone may be called alike by chance. */
const LEAST = 2
/** A head without a prefix is common to many: so many times more have to be found. */
const FEW = 4
/** Prefixes that are tried of either model, the most frequent ones. */
const CANDIDATES = 12
/** Parts of a name that a prefix may have: `base_model.model.model.` is the longest in use. */
const DEEPEST = 3

/**
 * A model whose tensors are called as the base's but for a prefix (`model.`, `module.`, `_orig_mod.`) is read under the
 * base's names; a prefix may be taken off, put on, or be another one. Only where few of its tensors have the base's names as they are,
 * half of what the two could share does afterwards, each in the base's shape, and the recipe renames nothing itself.
 * Warning: `other-prefix`, with the lines that say the same.
 */
export function underBasePrefix(
  recipe: Recipe,
  source: ModelSource,
  named: Named,
  base: { readonly name: string; readonly named: Named },
  faults: Faults,
): Named {
  if (source.stripPrefix !== undefined || source.rename.length > 0) return named
  const wanted = new Map(base.named.filter(([, { dtype }]) => isFloat(dtype)))
  const own = named.filter(([, { dtype }]) => isFloat(dtype))
  const sample = own.filter((_, index) => index % Math.ceil(own.length / SAMPLE) === 0)
  const count = (rename: (name: string) => string): number =>
    sample.filter(([name, { shape }]) => {
      const other = wanted.get(rename(name))
      return other !== undefined && sameShape(other.shape, shape)
    }).length
  const before = count((name) => name)
  if (before * FEW > sample.length) return named
  const there = new Set(base.named.map(([name]) => name))
  const taken = new Set(named.map(([name]) => name))
  const ons = prefixesOf(base.named)
  const offered = prefixesOf(sample).flatMap((off) =>
    ons.map((on) => {
      const rename = (name: string): string => {
        const renamed = name.startsWith(off) ? `${on}${name.slice(off.length)}` : name
        return there.has(renamed) && !there.has(name) && !taken.has(renamed) ? renamed : name
      }
      // One prefix for another says little unless several modules are found behind it: `fc2.` is not `fc1.`
      const parts = new Set(sample.flatMap(([name]) => firstModule(name, off)))
      return { off, on, rename, found: off !== '' && on !== '' && parts.size < 2 ? 0 : count(rename) }
    }),
  )
  const best = offered.reduce((best, one) => (one.found > best.found ? one : best))
  const enough = Math.max(LEAST, before * FEW, Math.min(sample.length, wanted.size) / 2)
  if (best.found < enough) return named
  const renamed = named.map(([name, stored]) => [best.rename(name), stored] as const)
  const moved = renamed.flatMap(([name], index) =>
    name === named[index]![0] ? [] : [[named[index]![0], name] as const],
  )
  const [from, to] = moved[0]!
  faults.warn(
    'other-prefix',
    `the tensors of ${source.name} and ${base.name} have different prefixes: terge reads ${from} as ${to}${moved.length > 1 ? ` (and ${moved.length - 1} more)` : ''}`,
    recipe.placeOf(source.at, 'key'),
    `to write this in the recipe: ${linesFor(best, moved, named.length)}`,
  )
  return [...renamed].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
}

/** The module that a name has first behind a prefix. */
function firstModule(name: string, prefix: string): string[] {
  const parts = name.startsWith(prefix) ? name.slice(prefix.length).split('.') : []
  return parts.length > 1 ? [parts[0]!] : []
}

/** Beginnings of names up to a dot, the most frequent first, and at the front none at all. */
function prefixesOf(named: Named): string[] {
  const counts = new Map<string, number>()
  for (const [name] of named) {
    const parts = name.split('.').slice(0, -1)
    for (let length = 1; length <= Math.min(DEEPEST, parts.length) && !/^\d+$/.test(parts[length - 1]!); length++) {
      const prefix = `${parts.slice(0, length).join('.')}.`
      counts.set(prefix, (counts.get(prefix) ?? 0) + 1)
    }
  }
  const frequent = [...counts].sort(([a, x], [b, y]) => y - x || a.length - b.length || (a < b ? -1 : 1))
  return ['', ...frequent.slice(0, CANDIDATES).map(([prefix]) => prefix)]
}

/** What a recipe would have to say for the same names. */
function linesFor(
  { off, on }: { readonly off: string; readonly on: string },
  moved: readonly (readonly [string, string])[],
  all: number,
): string {
  const strip = off === '' ? [] : [`strip_prefix: ${JSON.stringify(off)}`]
  if (on === '') return strip.join()
  const firsts = new Set(moved.map(([name]) => name.slice(off.length).split('.')[0]!))
  const rules =
    moved.length === all
      ? [`{from: "**", to: ${JSON.stringify(`${on}**`)}}`]
      : [...firsts].map(
          (first) => `{from: ${JSON.stringify(`${first}.**`)}, to: ${JSON.stringify(`${on}${first}.**`)}}`,
        )
  return [...strip, `rename: [${rules.join(', ')}]`].join(', ')
}
