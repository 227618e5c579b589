import type { ErrorCode } from '../../core/codes.js'
import { isObject } from '../../core/json/text.js'
import { didYouMean, quote } from '../../core/suggest.js'
import { type Faults, reportFault } from '../../language/faults.js'
import type { Recipe } from '../../recipe/types.js'
import { readObject } from '../../tokenizers/read.js'
import { templateNames, templateOf } from '../../tokenizers/templates.js'
import type { TokenizerFiles } from '../../tokenizers/types.js'

export const TEMPLATE_FILE = 'chat_template.jinja'

/** The template in tokenizer_config.json: a text, or a list of named templates, of which `default` counts. */
function defaultOf(template: unknown): string | undefined {
  if (typeof template === 'string') return template
  const named: unknown = Array.isArray(template)
    ? template.find((one: unknown) => isObject(one) && one.name === 'default')
    : undefined
  return isObject(named) && typeof named.template === 'string' ? named.template : undefined
}

/**
 * The chat template that the recipe sets: a model's, one that terge knows by name, or a Jinja text. `auto` is the
 * template that most models have; on a tie, the first of them. Undefined if the recipe sets none.
 * Errors: `no-template`, `unknown-template`, `bad-tokenizer`.
 */
export function chatTemplate(
  recipe: Recipe,
  merged: readonly string[],
  files: ReadonlyMap<string, TokenizerFiles>,
  faults: Faults,
): string | undefined {
  const wanted = recipe.chatTemplate
  if (wanted === undefined) return undefined
  const place = recipe.placeOf(['chat_template'])
  const own = (model: string): string | undefined => {
    const texts = files.get(model) ?? {}
    const alone = texts[TEMPLATE_FILE]
    if (alone !== undefined) return alone
    const config = texts['tokenizer_config.json']
    if (config === undefined) return undefined
    try {
      const { chat_template: template } = readObject(config, `${model}: tokenizer_config.json`)
      return defaultOf(template)
    } catch (error) {
      return reportFault(faults, error, place)
    }
  }
  const fail = (code: ErrorCode, message: string, hint?: string): undefined =>
    faults.error(code, message, place, hint) as undefined
  if (recipe.models.has(wanted))
    return (
      own(wanted) ??
      fail(
        'no-template',
        `the model ${quote(wanted)} has no chat template`,
        'name another model, or a template such as chatml',
      )
    )
  if (wanted === 'auto') {
    const votes = new Map<string, number>()
    for (const template of merged.map(own))
      if (template !== undefined) votes.set(template, (votes.get(template) ?? 0) + 1)
    const most = Math.max(...votes.values())
    const chosen = [...votes].find(([, count]) => count === most)?.[0]
    const message = 'none of the models has a chat template'
    if (chosen === undefined && recipe.converted) {
      // mergekit continues without a template.
      faults.warn('no-template', message, place)
      return undefined
    }
    return chosen ?? fail('no-template', message, 'name a template, such as chatml')
  }
  // A text with Jinja markup is a template; anything else is a name.
  if (/\{[{%]/.test(wanted)) return wanted
  const known = ['auto', ...templateNames(), ...recipe.models.keys()]
  return (
    templateOf(wanted) ??
    fail('unknown-template', `there is no chat template ${quote(wanted)}`, didYouMean(wanted, known))
  )
}
