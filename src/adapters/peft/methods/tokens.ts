/** Rows of single tokens: PEFT's trainable tokens, alone or in a LoRA. */
import type { Reporter, Update } from '../../types.js'
import type { ModuleParts } from '../names.js'
import type { PeftMethod } from './types.js'

/** The tokens of a module, from a list for the embedding or from a mapping from names of modules to lists. */
function indicesOf(module: string, written: unknown): readonly number[] | undefined {
  const found = Array.isArray(written)
    ? written
    : typeof written === 'object' && written !== null
      ? Object.entries(written).find(([name]) => module === name || module.endsWith(`.${name}`))?.[1]
      : undefined
  const isIndex = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0
  return Array.isArray(found) && found.every(isIndex) && new Set(found).size === found.length ? found : undefined
}

/** The update of a module's rows, if it has one. Error: `bad-adapter`. */
export function tokenUpdate({ module, roles }: ModuleParts, written: unknown, reporter: Reporter): readonly Update[] {
  const rows = roles.get('trainable_tokens_delta')
  if (!rows) return []
  const indices = indicesOf(module, written)
  if (!indices) {
    reporter.error(
      'bad-adapter',
      `it has rows for single tokens of ${module}, but adapter_config.json does not list these tokens`,
      'correct adapter_config.json, or download the adapter again',
    )
    return []
  }
  return [
    {
      ...{ kind: 'tokens', module, target: { name: `${module}.weight` }, parts: { rows } },
      ...{ scale: 1, settings: { indices } },
    },
  ]
}

export const trainableTokens: PeftMethod = {
  keys: ['token_indices'],
  roles: ['trainable_tokens_delta'],
  example: '…embed_tokens.trainable_tokens_delta',
  read:
    ({ config }, { reporter }) =>
    (own) =>
      tokenUpdate(own, config.token_indices, reporter),
}
