import { formatSize } from '../core/sizes.js'
import { counted, formatCount } from '../core/words.js'
import type { CheckpointFacts, ListedTensor } from '../index.js'
import { fitted, wrapped } from './fit.js'
import { formatShape, printable } from './text.js'

function adapterText({ type, ranks, alpha, modules, base }: NonNullable<CheckpointFacts['adapter']>): string {
  const kind = type === 'LORA' ? 'LoRA' : printable(type)
  const scale = alpha === undefined ? '' : `, alpha ${alpha}`
  const made = base === undefined ? '' : `, base model ${printable(base)}`
  const rank = ranks.length > 0 ? `, rank ${ranks.join(', ')}` : ''
  return `${kind}${rank}${scale}, ${counted(modules, 'module')}${made}`
}

const stacksText = (stacks: Readonly<Record<string, number>>): string =>
  Object.entries(stacks)
    .map(([prefix, depth]) => `${formatCount(depth)} (${printable(prefix)})`)
    .join(', ')

export const tensorJson = ({ name, dtype, shape, bytes, format, stored }: ListedTensor) => ({
  ...{ name, dtype, shape, bytes },
  ...(format === undefined ? {} : { format, stored }),
})

/** A model for people: facts, then `shownTensors`. */
export function inspectText(
  model: CheckpointFacts,
  shownTensors: readonly ListedTensor[],
  width = Number.POSITIVE_INFINITY,
): string {
  const { layout, type, adapter, modules, packed, files, tensors, parameters, layers, dtypes, metadata, stacks } = model
  const { quantized = {}, unreadable, skipped } = model
  const bytes = files.reduce((sum, { size }) => sum + size, 0)
  const facts: string[][] = [
    ['model', `${printable(model.model)} (${layout}, ${counted(files.length, 'file')}, ${formatSize(bytes)})`],
    ...(type === undefined ? [] : [['type', printable(type)]]),
    ...(adapter ? [['adapter', adapterText(adapter)]] : []),
    ...(modules
      ? [['modules', modules.map((name) => (name === '' ? '(top level)' : printable(name))).join(', ')]]
      : []),
    ...(packed ? [['packed', packed.map(printable).join(', ')]] : []),
    ...(unreadable === undefined ? [] : [['', `terge can't merge them: ${printable(unreadable)}`]]),
    ...Object.entries(quantized).map(([format, entry]) => [
      'quantized',
      `${counted(entry.tensors, 'weight')}, ${formatCount(entry.elements)} parameters: ${printable(format)}, read as ${entry.dtype}`,
    ]),
    ...(skipped ? [['skipped', printable(skipped.join(', '))]] : []),
    ['tensors', formatCount(tensors)],
    ['parameters', formatCount(parameters)],
    ['layers', stacks ? stacksText(stacks) : formatCount(layers)],
    ...Object.entries(dtypes).map(([dtype, entry]) => [
      dtype,
      `${counted(entry.tensors, 'tensor')}, ${formatSize(entry.bytes)}`,
    ]),
    ...Object.entries(metadata).map(([key, value]) => ['metadata', `${printable(key)}: ${printable(value)}`]),
  ]
  const isQuantized = Object.keys(quantized).length > 0
  const rows = shownTensors.map(({ name, dtype, shape, bytes, stored }) => [
    printable(name),
    dtype,
    formatShape(shape),
    formatSize(bytes),
    ...(isQuantized ? [(stored ?? []).map((part) => `${part.dtype} ${formatShape(part.shape)}`).join(', ')] : []),
  ])
  const columns = [
    { title: 'tensor' },
    { title: 'dtype' },
    { title: 'shape' },
    { title: 'size', align: 'right' as const },
    ...(isQuantized ? [{ title: 'stored as' }] : []),
  ]
  const lines = facts.map(([name, text]) => wrapped(`${name!.padEnd(12)}${text}`, width, '  '))
  return [...lines, '', fitted(columns, rows, width)].join('\n')
}
