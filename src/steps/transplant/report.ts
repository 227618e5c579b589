/** What planning a transplant refuses, and what it warns of. */
import { quote } from '../../core/suggest.js'
import { agree, plural } from '../../core/words.js'
import { reportFault } from '../../language/faults.js'
import { HEAD } from '../../networks/tied.js'
import { tensorsAlike } from '../../networks/tokenRows.js'
import { farIds, renumberedText } from '../../tokenizers/problems.js'
import type { PlanContext } from '../types.js'
import type { Matched, Tokens } from './match.js'
import type { TransplantStep } from './types.js'

/** Error: `no-token-rows`. */
export function refuseRows(
  { at }: TransplantStep,
  { recipe, faults }: PlanContext,
  message: string,
  hint: string,
): undefined {
  faults.error('no-token-rows', message, recipe.placeOf(at), hint)
}

/** Warning: `unused-key`. */
export function warnOfSame(step: TransplantStep, { recipe, faults }: PlanContext, { value }: Tokens): void {
  const message = `tokenizer has no effect on ${value.name}: it has the vocabulary of ${step.donor}`
  faults.warn('unused-key', message, recipe.placeOf(step.at, 'key'), 'name another model as source, or remove the key')
}

/** Whether rows of the model, or of the donor, do not belong to tokens in a way that is known. Errors: `no-token-rows`, `bad-tokenizer`. */
export function refusesRows(step: TransplantStep, context: PlanContext, own: Tokens, given: Tokens): boolean {
  const shapeOf = ({ value }: Tokens, name: string): string => `${name} [${value.tensors.get(name)!.shape.join(', ')}]`
  const [odd] = own.odd
  const head = given.odd.find((name) => HEAD.test(name))
  const sides: [Tokens, string | undefined][] = [
    [own, odd],
    [given, head],
  ]
  for (const [side, name] of sides)
    if (name !== undefined) {
      const message = `${side.name}: ${shapeOf(side, name)} does not have one row for each of the ${plural(side.rows, 'row')} of its embedding`
      refuseRows(step, context, message, 'use a model whose embeddings and heads have the same number of rows')
      return true
    }
  const far = farIds(given.tokenizer, given.rows, given.name)
  if (far) reportFault(context.faults, far, context.recipe.placeOf(step.at))
  return far !== undefined
}

/** Warns of tensors that could have one row per token, and are unchanged. Warning: `unchanged-rows`. */
export function warnOfOthers(step: TransplantStep, { recipe, faults }: PlanContext, own: Tokens): void {
  const [first, ...more] = tensorsAlike(own, own.value.tensors, own.config)
  if (first === undefined) return
  faults.warn(
    'unchanged-rows',
    `${own.name}: ${plural(more.length + 1, 'tensor')}, such as ${first}, ${agree(more.length + 1, 'has', 'have')} ${own.rows} rows or columns, as many as the vocabulary, and ${agree(more.length + 1, 'is', 'are')} unchanged`,
    recipe.placeOf(step.at),
    'check that they do not belong to tokens',
    own.name,
  )
}

/** Warnings: `dropped-rows`, `tokens-without-rows`, `token-ids`. */
export function reportMatches(
  step: TransplantStep,
  { recipe, faults }: PlanContext,
  { dropped, rowless, unnamed }: Matched,
  { tokenizer, name }: Tokens,
): void {
  const place = recipe.placeOf(step.at)
  if (dropped > 0)
    faults.warn(
      'dropped-rows',
      `${name} has ${plural(dropped, 'embedding row')} behind its last token: the result has no ${agree(dropped, 'row for it', 'rows for them')}`,
      place,
      'write pad_to_multiple_of: 64 for another number of rows',
      name,
    )
  const [first] = rowless
  if (first !== undefined)
    faults.warn(
      'tokens-without-rows',
      `${plural(rowless.length, 'token')} of ${name} ${agree(rowless.length, 'has', 'have')} no embedding row to approximate, such as ${quote(first)}: ${agree(rowless.length, 'it gets', 'they get')} the mean of all rows`,
      place,
      undefined,
      name,
    )
  if (unnamed > 0)
    faults.warn(
      'filled-rows',
      `${plural(unnamed, 'row')} of the result ${agree(unnamed, 'has', 'have')} no token: ${agree(unnamed, 'it is', 'they are')} the mean of all rows`,
      place,
      undefined,
      name,
    )
  const renumbered = renumberedText(tokenizer, name)
  if (renumbered !== undefined) faults.warn('token-ids', renumbered, place, undefined, name)
}
