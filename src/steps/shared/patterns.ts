import { nearNamesHint } from '../../core/names/nearNames.js'
import { quote } from '../../core/suggest.js'
import { plural } from '../../core/words.js'
import type { PatternCount } from '../../expr/types.js'
import type { Faults } from '../../language/faults.js'
import type { LocatedPattern, RecipeHead } from '../../language/types.js'
import type { StepPatterns } from '../types.js'

/** What filters and rules decide for one tensor name of the base. */
export type Decision =
  | {
      readonly kind: 'merge' /** Index of the rule, or -1 for the settings of the merge itself. */
      readonly rule: number
    }
  | { readonly kind: 'copy'; readonly reason: 'not-included' | 'excluded' }

interface Tracked {
  readonly located: LocatedPattern
  readonly where: PatternCount['where']
  readonly rule?: number
  matches: number
  applies: number
}

/**
 * Applies all patterns of a merge step to the tensor names of the base, and counts what each pattern matches and
 * decides.
 */
export interface PatternBook {
  readonly decide: (name: string, mergeable: boolean) => Decision
  /**
   * Call it after `decide` has seen all names. Errors: `no-match` for patterns without a match. Warnings:
   * `never-applies`.
   */
  readonly close: (recipe: RecipeHead, names: readonly string[], faults: Faults) => readonly PatternCount[]
}

/** Without patterns, all tensors are merged in one way. */
const ALL: Decision = { kind: 'merge', rule: -1 }

export function patternBook(step: StepPatterns): PatternBook {
  const track = (patterns: readonly LocatedPattern[], where: Tracked['where'], rule?: number): Tracked[] =>
    patterns.map((located) => ({ located, where, matches: 0, applies: 0, ...(rule === undefined ? {} : { rule }) }))
  const include = track(step.filters.include, 'include')
  const exclude = track(step.filters.exclude, 'exclude')
  const rules = step.rules.map((rule, index) => track(rule.match, 'rule', index))
  const all = [...include, ...exclude, ...rules.flat()]

  function decide(name: string, mergeable: boolean): Decision {
    if (all.length === 0) return ALL
    // All patterns see all names: whether a pattern can match does not depend on filters and earlier rules.
    const hit = new Set(all.filter((tracked) => tracked.located.pattern.matches(name)))
    const apply = (patterns: readonly Tracked[]): boolean => {
      const applied = patterns.filter((tracked) => hit.has(tracked))
      for (const tracked of applied) tracked.applies++
      return applied.length > 0
    }
    for (const tracked of hit) tracked.matches++
    if (include.length > 0 && !apply(include)) return { kind: 'copy', reason: 'not-included' }
    if (apply(exclude)) return { kind: 'copy', reason: 'excluded' }
    if (!mergeable) return { kind: 'merge', rule: -1 }
    return { kind: 'merge', rule: rules.findIndex(apply) }
  }

  function close(recipe: RecipeHead, names: readonly string[], faults: Faults): readonly PatternCount[] {
    return all.map((tracked) => {
      const { located, where, rule, matches, applies } = tracked
      const { text } = located.pattern
      const place = recipe.placeOf(located.at, 'value')
      if (matches === 0) {
        const hint = nearNamesHint(text, names) ?? `the base ${step.base} has no tensors`
        faults.error(
          'no-match',
          `the pattern ${quote(text)} matches no tensor of the base ${quote(step.base)}`,
          place,
          hint,
        )
      } else if (applies === 0) {
        const by = where === 'rule' ? 'earlier rules and filters match' : 'include matches none of'
        faults.warn(
          'never-applies',
          `the pattern ${quote(text)} never applies: ${by} the ${plural(matches, 'tensor')} that it matches`,
          place,
          where === 'rule' ? 'move the rule up, or remove it' : 'remove it, or widen include',
        )
      }
      return { pattern: text, where, matches, applies, ...(rule === undefined ? {} : { rule }) }
    })
  }

  return { decide, close }
}
