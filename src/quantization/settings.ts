/** Where a model's files say how its weights are quantized. */
import { isObject } from '../core/json/text.js'
import { UNSUPPORTED } from './parts.js'
import { Refusal, type Settings } from './types.js'

/** Files beside the weights that describe quantization. */
export const QUANTIZATION_FILES = ['hf_quant_config.json', 'quantize_config.json'] as const

/** Keys of a configuration that describe quantization. */
export const QUANTIZATION_KEYS = ['quantization_config', 'compression_config'] as const

/** A configuration without what describes quantization, also in its parts. The same object if there is nothing. */
export function withoutQuantization(config: Settings): Settings {
  const entries = Object.entries(config).flatMap(([key, value]): [string, unknown][] => {
    if (QUANTIZATION_KEYS.some((one) => one === key)) return []
    return [[key, isObject(value) && key.endsWith('_config') ? withoutQuantization(value) : value]]
  })
  const same = entries.length === Object.keys(config).length && entries.every(([key, value]) => config[key] === value)
  return same ? config : Object.fromEntries(entries)
}

/** What the configuration says, at its top or in the configuration of its language model. */
function inConfig(config: Settings | undefined): Settings | undefined {
  if (!config) return undefined
  for (const part of [
    config,
    ...Object.entries(config).flatMap(([key, value]) => (key.endsWith('_config') ? [value] : [])),
  ]) {
    if (!isObject(part)) continue
    for (const key of QUANTIZATION_KEYS) {
      const found = part[key]
      if (!isObject(found) || Object.keys(found).length === 0) continue
      return key === 'compression_config' ? { quant_method: 'compressed-tensors', ...found } : found
    }
  }
  return undefined
}

/**
 * The settings of a model's quantization, from its configuration and the files beside it; undefined if it has none.
 * Throws a `Refusal` if two files contradict each other.
 */
export function settingsOf(
  config: Settings | undefined,
  beside: Readonly<Record<(typeof QUANTIZATION_FILES)[number], Settings | undefined>>,
): Settings | undefined {
  const own = inConfig(config)
  const modelopt = beside['hf_quant_config.json']?.quantization
  const gptq = beside['quantize_config.json']
  if (!own) {
    if (isObject(modelopt)) return { ...modelopt, quant_method: 'modelopt' }
    return gptq && 'bits' in gptq ? { quant_method: 'gptq', ...gptq } : undefined
  }
  const method = methodOf(own)
  if (method === 'modelopt' && isObject(modelopt)) {
    const [here, there] = [own.quant_algo, modelopt.quant_algo]
    if (typeof here === 'string' && typeof there === 'string' && here.toUpperCase() !== there.toUpperCase())
      throw new Refusal(
        'packed-weights',
        `config.json says ${here}, and hf_quant_config.json says ${there}`,
        UNSUPPORTED,
      )
    return { ...modelopt, ...own }
  }
  if (method === 'gptq' && gptq) {
    for (const key of ['bits', 'checkpoint_format'])
      if (own[key] !== undefined && gptq[key] !== undefined && own[key] !== gptq[key])
        throw new Refusal(
          'packed-weights',
          `config.json says ${key} ${JSON.stringify(own[key])}, and quantize_config.json says ${JSON.stringify(gptq[key])}`,
          UNSUPPORTED,
        )
    return { ...gptq, ...own }
  }
  return own
}

/** The name of the quantization method, in lower case. */
export function methodOf({ quant_method: method, quant_algo: algo, quant_type: type }: Settings): string | undefined {
  if (typeof method === 'string') return method.toLowerCase()
  if (typeof algo === 'string') return 'modelopt'
  return typeof type === 'string' ? type.toLowerCase() : undefined
}

/** The dtype that a configuration names for weights. */
export function dtypeIn(config: Settings | undefined): 'F32' | 'F16' | 'BF16' | undefined {
  if (!config) return undefined
  for (const value of [config.dtype, config.torch_dtype]) {
    const name = typeof value === 'string' ? value.replace(/^torch\./, '') : ''
    if (name === 'float16' || name === 'half') return 'F16'
    if (name === 'bfloat16') return 'BF16'
    if (name === 'float32' || name === 'float') return 'F32'
  }
  for (const [key, part] of Object.entries(config)) {
    const found = key.endsWith('_config') && key !== 'quantization_config' && isObject(part) ? dtypeIn(part) : undefined
    if (found) return found
  }
  return undefined
}
