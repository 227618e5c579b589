/** `lora_adapter_metadata` in the header of a file of diffusers: the configuration of PEFT for each part of a pipeline. */
import type { ValueTensor } from '../../expr/values.js'
import { lora } from '../peft/methods/lora.js'
import type { ModuleParts, Role as PeftRole } from '../peft/names.js'
import { settings } from '../peft/settings.js'
import type { AdapterFiles, Network, Reporter, Update } from '../types.js'
import type { ModuleTensors } from './roles.js'
import type { Target } from './targets.js'

const KEY = 'lora_adapter_metadata'

type Read = (module: ModuleTensors, target: Extract<Target, { readonly kind: 'one' }>) => readonly Update[] | undefined

/**
 * Reads the updates of modules whose part of the pipeline has a configuration; undefined for other modules. Undefined after an
 * error: `bad-adapter`, and those of PEFT's configuration.
 */
export function headerScales({ metadata }: AdapterFiles, network: Network, reporter: Reporter): Read | undefined {
  const text = metadata?.[KEY]
  if (text === undefined) return () => undefined
  const configs = parse(text)
  if (!configs) {
    reporter.error('bad-adapter', `${KEY} in its header is not a JSON object`, 'download the adapter again')
    return undefined
  }
  const own: Reporter = {
    error: (code, message, hint) => reporter.error(code, here(message), hint && here(hint)),
    warn: (code, message, hint) => reporter.warn(code, here(message), hint && here(hint)),
  }
  const readers = new Map<string, (parts: ModuleParts) => readonly Update[]>()
  for (const [part, config] of configs) {
    const read = settings(config, own)
    const updates = lora.read(read, { network, reporter: own, modules: [] })
    read.close(lora.keys)
    if (!read.sound()) return undefined
    readers.set(part, updates)
  }
  return (module, target) => {
    const reader = readers.get(module.prefix)
    if (!reader || !module.tensors.has('down')) return undefined
    const alpha = module.stored.get('alpha')
    if (alpha !== undefined) {
      own.error('bad-adapter', `it has a scale in its header and ${alpha}`, 'download the adapter again')
      return []
    }
    // Patterns of the configuration match names inside of the part.
    return reader(partsOf(module)).map((update) => ({
      ...update,
      module: module.name,
      target: { name: update.target.name.replace(module.own, target.module) },
    }))
  }
}

const here = (text: string): string => text.replaceAll('adapter_config.json', `${KEY} in the header`)

function partsOf({ own, tensors }: ModuleTensors): ModuleParts {
  const roles = new Map<PeftRole, ValueTensor>()
  const put = (role: PeftRole, tensor: ValueTensor | undefined): void => {
    if (tensor) roles.set(role, tensor)
  }
  put('lora_A', tensors.get('down'))
  put('lora_B', tensors.get('up'))
  put('lora_magnitude_vector', tensors.get('magnitude'))
  const bias = tensors.get('up_bias')
  return { module: own, depth: 0, roles, biases: bias ? new Map([['lora_B', bias]]) : new Map() }
}

type Config = Readonly<Record<string, unknown>>

/** By part of the pipeline (`unet`, `text_encoder`, `transformer`): its configuration. */
function parse(text: string): ReadonlyMap<string, Config> | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  const parts = new Map<string, Record<string, unknown>>()
  for (const [key, entry] of Object.entries(value)) {
    const dot = key.indexOf('.')
    const part = key.slice(0, Math.max(0, dot))
    const config = parts.get(part) ?? Object.create(null)
    config[key.slice(dot + 1)] = entry
    parts.set(part, config)
  }
  return parts
}
