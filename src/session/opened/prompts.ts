/** Prompts of a recipe's steps, cut by the tokenizers of their models. */
import { readSidecars } from '../../checkpoints/sidecars.js'
import type { Checkpoint } from '../../checkpoints/types.js'
import { type Diagnostic, Fault } from '../../core/diagnostics.js'
import { originOf } from '../../plan/origins.js'
import { TOKENIZER_FILES } from '../../plan/tokens/tokenizer.js'
import type { Recipe } from '../../recipe/types.js'
import { kindOf } from '../../steps/index.js'
import { openEncoder } from '../../tokenizers/encode.js'

/** By step and prompt: the ids of its tokens, after the start of a text. */
export type Prompts = ReadonlyMap<string, ReadonlyMap<string, readonly number[]>>

/** Errors `bad-tokenizer` are in the result, at their steps. */
export async function cutPrompts(
  recipe: Recipe,
  checkpoints: ReadonlyMap<string, Checkpoint>,
): Promise<{ readonly prompts: Prompts; readonly diagnostics: readonly Diagnostic[] }> {
  const prompts = new Map<string, ReadonlyMap<string, readonly number[]>>()
  const diagnostics: Diagnostic[] = []
  for (const step of recipe.steps) {
    const wanted = kindOf(step).prompts?.(step)
    const checkpoint = wanted && checkpoints.get(originOf(recipe, wanted.model))
    if (!wanted || !checkpoint) continue
    try {
      const files = await readSidecars(checkpoint, TOKENIZER_FILES)
      const { start, ids } = await openEncoder(files, originOf(recipe, wanted.model))
      const texts = [...new Set(wanted.texts)]
      const found = ids(texts.map((text) => start + text))
      prompts.set(step.name, new Map(texts.map((text, at) => [text, found[at]!])))
    } catch (error) {
      if (!(error instanceof Fault)) throw error
      const place = recipe.placeOf(step.at, 'key')
      diagnostics.push(...error.diagnostics.map((one) => ({ ...one, place })))
    }
  }
  return { prompts, diagnostics }
}

/** A prompt without tokens has none: it adds nothing. */
export const idsIn =
  (prompts: Prompts) =>
  (step: string, prompt: string): readonly number[] => {
    const ids = prompts.get(step)?.get(prompt)
    if (!ids) throw new Error(`internal: a prompt of ${step} was not cut into tokens`)
    return ids
  }
