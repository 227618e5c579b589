import { quote } from '../../core/suggest.js'
import { booleanOf, get, has, numberOf, textOf } from '../../language/cursor.js'
import { readFilters, readPatterns } from '../merge/read.js'
import type { Reading, StepDraft } from '../types.js'
import type { ExtractStep } from './types.js'

export function readExtract({ name, at }: StepDraft, { scope, use }: Reading): ExtractStep {
  const key = has(at, 'lokr') ? 'lokr' : 'lora'
  const lora = get(at, key)
  if (has(at, 'lora') === has(at, 'lokr'))
    scope.report.error(
      has(at, 'lora') ? 'contradiction' : 'missing-key',
      `extract needs either 'lora' or 'lokr'`,
      at.path,
      { part: 'key', hint: 'write lora: {from: NAME, base: NAME, rank: 16}' },
    )
  const [from, base] = [use(get(lora, 'from')), use(get(lora, 'base'))]
  if (from !== '' && from === base) {
    const hint = 'name a fine-tuned model and its base model'
    const message = `'from' and 'base' are both ${quote(from)}, so there is no difference to extract`
    scope.report.error('contradiction', message, [...at.path, key, 'from'], { hint })
  }
  const [rank, energy, above, alpha] = ['rank', 'energy', 'sv_epsilon', 'alpha'].map((key) => numberOf(get(lora, key)))
  if (lora && key === 'lora' && ['rank', 'energy', 'sv_epsilon'].every((own) => !has(lora, own)))
    scope.report.error('missing-key', 'an extraction needs a rank, an energy or an sv_epsilon', lora.path, {
      part: 'key',
      hint: 'write rank: 16, or energy: 0.95 for the smallest ranks that explain 95 % of each layer',
    })
  const whole = get(lora, 'modules_to_save')
  return {
    kind: 'extract',
    name,
    at: at.path,
    key,
    ...(key === 'lokr' ? { lokr: { factor: numberOf(get(lora, 'factor')) ?? -1 } } : {}),
    from,
    base,
    ...(rank === undefined ? {} : { rank }),
    ...(energy === undefined ? {} : { energy }),
    ...(above === undefined ? {} : { above }),
    ...(alpha === undefined ? {} : { alpha }),
    filters: readFilters(lora, scope.report),
    modulesToSave: booleanOf(whole) ?? (whole ? readPatterns(whole, scope.report) : false),
    loraBias: booleanOf(get(lora, 'lora_bias')) ?? false,
    names: (textOf(get(lora, 'names')) ?? 'transformers-5') as ExtractStep['names'],
    method: (textOf(get(lora, 'method')) ?? 'auto') as ExtractStep['method'],
    oversampling: numberOf(get(lora, 'oversampling')) ?? 16,
    iterations: numberOf(get(lora, 'iterations')) ?? 4,
  }
}
