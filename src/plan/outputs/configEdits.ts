/** Changes of a configuration: the dtype of weights, and heads that are no longer tied. */
import { isObject } from '../../core/json/text.js'
import { encodingOf } from '../../encodings/index.js'
import { tyingPart } from '../../networks/tied.js'
import type { OutputSpec } from '../../recipe/types.js'

type Config = Readonly<Record<string, unknown>>

/**
 * Sets `tie_word_embeddings: false` in the part of the configuration that decides about the head and in its text part.
 * Libraries read either and treat an absent key as true.
 */
export function untie(config: Record<string, unknown>, head: string): void {
  const part = { ...tyingPart(config, head), tie_word_embeddings: false }
  const text = (part as Config).text_config as Config | null | undefined
  const whole =
    text?.tie_word_embeddings === true ? { ...part, text_config: { ...text, tie_word_embeddings: false } } : part
  if (tyingPart(config, head) === config) Object.assign(config, whole)
  else config.decoder = whole
}

/** transformers 5 writes `dtype`, earlier versions `torch_dtype`. A config and its parts may have either. */
export const DTYPE_KEYS = ['torch_dtype', 'dtype'] as const

/** Sets the dtype wherever the configuration, or a model configuration in it, states one. */
export function withDtype(config: Config, dtype: OutputSpec['dtype']): Config {
  if (!dtype) return config
  return Object.fromEntries(
    Object.entries(config).map(([key, value]) => {
      if (DTYPE_KEYS.some((one) => one === key)) return [key, encodingOf(dtype).torch[0]]
      const part = isObject(value) && (key.endsWith('_config') || 'model_type' in value)
      return [key, part && key !== 'quantization_config' ? withDtype(value, dtype) : value]
    }),
  )
}
