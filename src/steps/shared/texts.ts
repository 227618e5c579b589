/** Texts of a step, cut into tokens while it is planned. */
import { reportFault } from '../../language/faults.js'
import type { StepCommon } from '../../language/types.js'
import type { Encoder } from '../../tokenizers/encode.js'
import type { PlanContext } from '../types.js'

/**
 * The ids of each text's tokens, after the start of a text. Undefined with errors at the step: `bad-tokenizer`. `instead`: what the step can do
 * without cutting texts.
 */
export function cutTexts(
  context: PlanContext,
  step: StepCommon,
  model: string,
  texts: readonly string[],
  instead: string,
): ReadonlyMap<string, readonly number[]> | undefined {
  const all = [...new Set(texts)]
  return withEncoder(context, step, model, instead, (encoder) => {
    const ids = encoder?.ids(all.map((text) => encoder.start + text))
    return new Map(all.map((text, at) => [text, ids?.[at] ?? []]))
  })
}

/**
 * What is made with the tokenizer of a model or step. There is none where models are not opened. Undefined with errors at the
 * step: `bad-tokenizer`. `instead`: what the step can do without it.
 */
export function withEncoder<T>(
  { recipe, values, tokenizers, tokenizerOf, faults }: PlanContext,
  { at }: StepCommon,
  model: string,
  instead: string,
  make: (encoder: Encoder | undefined) => T,
): T | undefined {
  try {
    return make(tokenizers.encoder(tokenizerOf(values.get(model)!.origin)))
  } catch (error) {
    return reportFault(faults, error, recipe.placeOf(at, 'key'), { instead })
  }
}
