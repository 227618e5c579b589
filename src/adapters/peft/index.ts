/** Adapters of PEFT: `adapter_config.json` with `adapter_model.safetensors` or `.bin`. */
import type { AdapterContent, AdapterFiles, AdapterFormat, Network, Reporter, Update } from '../types.js'
import { readAdapterConfig } from './config.js'
import { adapterTensorName, adapterTensors, isFactor } from './tensors.js'

function read(
  { tensors, config = {} }: AdapterFiles,
  _network: Network | undefined,
  reporter: Reporter,
): AdapterContent | undefined {
  const settings = readAdapterConfig(config, reporter)
  const found = adapterTensors(tensors, reporter)
  if (!settings || !found) return undefined
  const { rank, scale, ...traits } = settings
  const { replaced, beneath } = found
  const weights = found.updates.map(
    ({ module, kind, a, b }): Update => ({
      kind: 'lora',
      module,
      target: { name: `${module}.weight` },
      parts: { a, b },
      scale: scale(module),
      rank: rank(module),
      ...(kind === 'embedding' ? { embedding: true } : {}),
    }),
  )
  const biases = found.biases.map(
    ({ module, tensor }): Update => ({
      kind: 'bias',
      module,
      target: { name: `${module}.bias` },
      parts: { b: tensor },
      scale: scale(module),
    }),
  )
  return { ...traits, updates: [...weights, ...biases], replaced, beneath }
}

export const peft: AdapterFormat = {
  name: 'PEFT',
  detect: ({ config }) => config !== undefined,
  read,
  isUpdate: isFactor,
  nameOf: adapterTensorName,
}
