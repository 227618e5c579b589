import type { LogicalTensor } from '../../checkpoints/types.js'
import { sameShape } from '../../core/dtypes.js'
import { isFloat } from '../../encodings/index.js'
import type { Faults } from '../../language/faults.js'
import type { ModelSource } from '../../language/types.js'
import type { Recipe } from '../../recipe/types.js'

/** A model's stored tensors with the names that they are read under. */
export type Named = readonly (readonly [name: string, tensor: LogicalTensor])[]

/** The number of names that are sampled to choose a prefix, which then applies to all names. */
const SAMPLE = 2000
/** A single tensor may match by chance. */
const LEAST = 2
/** Many models share a head name without a prefix, so a prefix must match this many times more tensors. */
const FEW = 4
/** The number of prefixes tried for each model, the most frequent first. */
const CANDIDATES = 12
/** The maximum number of parts in a prefix: `base_model.model.model.` is the longest in use. */
const DEEPEST = 3

/** Whether two models have the same names in the same order. */
export const haveSameNames = (a: readonly (readonly [string, unknown])[], b: readonly (readonly [string, unknown])[]) =>
  a.length === b.length && a.every(([name], index) => name === b[index]![0])

/**
 * Reads a model under the base's names if the names differ only by a prefix (`model.`, `module.`, `_orig_mod.`). terge
 * may add, remove or replace the prefix. It does so only if few of the model's names match the base's, if with the new
 * prefix at least half of the possible tensors match in name and shape, and if the recipe does not rename tensors
 * itself.
 * Warning: `other-prefix`, with the equivalent recipe lines.
 */
export function underBasePrefix(
  recipe: Recipe,
  source: ModelSource,
  named: Named,
  base: { readonly name: string; readonly named: Named },
  faults: Faults,
): Named {
  if (source.stripPrefix !== undefined || source.rename.length > 0 || haveSameNames(named, base.named)) return named
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
      // Replacing a prefix is only convincing if several modules follow it: `fc2.` does not mean `fc1.`
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

/** The first module in a name after a prefix. */
function firstModule(name: string, prefix: string): string[] {
  const parts = name.startsWith(prefix) ? name.slice(prefix.length).split('.') : []
  return parts.length > 1 ? [parts[0]!] : []
}

/** Leading parts of names, the most frequent first, after the empty prefix. */
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

/** The recipe lines that give the same names. */
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
