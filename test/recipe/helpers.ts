import type { Test } from 'uvu'
import * as assert from 'uvu/assert'
import { formatDiagnostic } from '../../src/core/diagnostics.js'
import { type LoadOptions, loadRecipe } from '../../src/recipe/load.js'
import type { Recipe } from '../../src/recipe/types.js'
import type { MergeStep } from '../../src/steps/merge/types.js'

interface FaultCase {
  readonly name: string
  /** Its first line break is ignored. `faults` also starts and ends with one. */
  readonly recipe: string
  readonly set?: readonly string[]
  readonly faults: string
}

/** One test per case: compares all errors, in order, with the printed text. */
export function faultTests(test: Test, cases: readonly FaultCase[]): void {
  for (const { name, recipe, set, faults } of cases)
    test(name, () => {
      const { diagnostics, recipe: found } = loadRecipe('r.yml', { text: recipe.slice(1), ...(set ? { set } : {}) })
      assert.fixture(`\n${diagnostics.map(formatDiagnostic).join('\n')}\n`, faults)
      const wrong = diagnostics.some(({ severity }) => severity === 'error')
      assert.is(found === undefined, wrong, 'a recipe where there is no error, and only there')
    })
}

export function load(text: string, options: LoadOptions = {}): Recipe {
  const { recipe, diagnostics } = loadRecipe('r.yml', { text, ...options })
  assert.equal(diagnostics.map(formatDiagnostic), [])
  if (!recipe) throw new Error('no recipe')
  return recipe
}

export function mergeOf(recipe: Recipe, name = 'merge'): MergeStep {
  const step = recipe.steps.find((step) => step.name === name)
  if (step?.kind !== 'merge') throw new Error(`no merge ${name}`)
  return step
}

/** A generator of integers below n: xorshift32, so that a failing run can be repeated. */
export function seeded(seed: number): (n: number) => number {
  let state = seed | 0 || 1
  return (n) => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % n
  }
}
