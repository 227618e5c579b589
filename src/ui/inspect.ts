import type { Checkpoint, StoredTensor } from '../checkpoints/types.js'
import { elements } from '../core/dtypes.js'
import { formatSize } from '../core/sizes.js'
import { layerCount } from '../plan/layers.js'
import { packedOf, quantizationOf } from '../plan/packed.js'
import { counted, formatCount, formatShape, printable, table } from './text.js'

/** What a model's headers say, the tensors apart. */
export function checkpointFacts(checkpoint: Checkpoint) {
  const { reference, layout, files, tensors, metadata, config, modules } = checkpoint
  const adapter = adapterFacts(checkpoint)
  const dtypes: Record<string, { tensors: number; elements: number; bytes: number }> = {}
  let parameters = 0
  for (const { dtype, shape, bytes } of tensors.values()) {
    const count = elements(shape)
    dtypes[dtype] ??= { tensors: 0, elements: 0, bytes: 0 }
    const entry = dtypes[dtype]
    entry.tensors += 1
    entry.elements += count
    entry.bytes += bytes
    parameters += count
  }
  const { model_type: type, architectures } = config ?? {}
  const packed = [...new Set(packedOf({ tensors, ...quantizationOf(config) }).values())]
  return {
    model: reference,
    layout,
    ...(typeof type === 'string' ? { type } : {}),
    ...(Array.isArray(architectures) ? { architectures: architectures.map(String) } : {}),
    ...(adapter ? { adapter } : {}),
    ...(modules ? { modules: modules.map(({ name }) => name) } : {}),
    ...(packed.length > 0 ? { packed } : {}),
    files: files.map(({ name, size }) => ({ name, size })),
    tensors: tensors.size,
    parameters,
    layers: layerCount(tensors.keys()),
    dtypes,
    metadata,
  }
}

/** What a PEFT adapter says of itself; ranks are those of its tensors. */
function adapterFacts({ adapter, tensors }: Checkpoint) {
  if (!adapter) return undefined
  const left = [...tensors.values()].filter(({ name }) => /\.lora_(A\b|embedding_A$)/.test(name))
  const {
    peft_type: type = 'LORA',
    lora_alpha: alpha,
    target_modules: targets,
    base_model_name_or_path: base,
  } = adapter
  return {
    type: String(type),
    ranks: [...new Set(left.map(({ shape }) => shape[0] ?? 0))].sort((a, b) => a - b),
    ...(typeof alpha === 'number' ? { alpha } : {}),
    modules: left.length,
    ...(Array.isArray(targets) ? { targets: targets.map(String) } : {}),
    ...(typeof base === 'string' ? { base } : {}),
  }
}

function adapterText({ type, ranks, alpha, modules, base }: NonNullable<ReturnType<typeof adapterFacts>>): string {
  const kind = type === 'LORA' ? 'LoRA' : printable(type)
  const scale = alpha === undefined ? '' : `, alpha ${alpha}`
  const made = base === undefined ? '' : `; made for ${printable(base)}`
  return `${kind}, rank ${ranks.join(', ')}${scale}, of ${counted(modules, 'module')}${made}`
}

export const tensorJson = ({ name, dtype, shape, bytes }: StoredTensor) => ({ name, dtype, shape, bytes })

/** A model for people: facts, then the tensors asked for. */
export function inspectText(checkpoint: Checkpoint, tensors: readonly StoredTensor[]): string {
  const { model, layout, type, adapter, modules, packed, files, parameters, layers, dtypes, metadata } =
    checkpointFacts(checkpoint)
  const bytes = files.reduce((sum, { size }) => sum + size, 0)
  const facts: string[][] = [
    ['model', `${printable(model)} (${layout}, ${counted(files.length, 'file')}, ${formatSize(bytes)})`],
    ...(type === undefined ? [] : [['type', printable(type)]]),
    ...(adapter ? [['adapter', adapterText(adapter)]] : []),
    ...(modules ? [['modules', modules.map((name) => (name === '' ? '(its own)' : printable(name))).join(', ')]] : []),
    ...(packed ? [['packed', packed.map(printable).join(', ')]] : []),
    ['tensors', formatCount(checkpoint.tensors.size)],
    ['parameters', formatCount(parameters)],
    ['layers', formatCount(layers)],
    ...Object.entries(dtypes).map(([dtype, entry]) => [
      dtype,
      `${counted(entry.tensors, 'tensor')}, ${formatSize(entry.bytes)}`,
    ]),
    ...Object.entries(metadata).map(([key, value]) => ['metadata', `${printable(key)}: ${printable(value)}`]),
  ]
  const rows = tensors.map(({ name, dtype, shape, bytes }) => [
    printable(name),
    dtype,
    formatShape(shape),
    formatSize(bytes),
  ])
  const columns = [
    { title: 'tensor' },
    { title: 'dtype' },
    { title: 'shape' },
    { title: 'size', align: 'right' as const },
  ]
  return [...facts.map(([name, text]) => `${name!.padEnd(12)}${text}`), '', table(columns, rows)].join('\n')
}
