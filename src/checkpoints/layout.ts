/** Lays out an output: file names, headers, and the place of each tensor. The same tensors and metadata give the same layout. */
import { type Fault, fault } from '../core/diagnostics.js'
import { elements } from '../core/dtypes.js'
import { quote } from '../core/suggest.js'
import { encodingOf } from '../encodings/index.js'
import { compareNames, jsonText } from './canonicalJson.js'
import { indexName, OUTPUT } from './containers/index.js'
import type { WrittenTensor } from './containers/types.js'
import { modulePrefix } from './modules.js'
import type { CheckpointModule, OutputLayout, PlacedTensor, TensorSpec } from './types.js'

const writer = OUTPUT.write

export interface LayoutOptions {
  readonly kind: 'file' | 'folder'
  /** For a `file`. Files in a folder have the hub's names. */
  readonly fileName?: string
  /** Bytes of tensor data per file, for folders. A larger tensor gets a file of its own. */
  readonly shardSize?: number
  /** Modules of a pipeline: each has a folder of its own, in which its tensors have their own names. For folders. */
  readonly modules?: readonly Pick<CheckpointModule, 'name' | 'stem'>[]
  /** `format: "pt"` is added if it is missing, because the hub's libraries require it. */
  readonly metadata: Readonly<Record<string, string>>
}

/**
 * Lays out an output with these tensors. Fills shards in the given order.
 * Errors: `too-large` above 2⁵³ bytes, `header-too-large` if the names exceed the limit of the format, `bad-name`.
 */
export function layoutCheckpoint(tensors: readonly TensorSpec[], options: LayoutOptions): OutputLayout {
  const sized = tensors.map((tensor) => {
    const { name, dtype, shape } = tensor
    return { name, dtype, shape, bytes: sizeOf(tensor) }
  })
  const total = sized.reduce((sum, { bytes }) => sum + bytes, 0)
  if (!Number.isSafeInteger(total + writer.mostHeaderBytes))
    throw fault('too-large', `the output's tensors take ${total} bytes, more than terge can write`)
  const parts = options.kind === 'folder' ? byModule(sized, options.modules ?? []) : [{ ...WHOLE, tensors: sized }]
  const files: OutputLayout['files'][number][] = []
  const placed: PlacedTensor[] = []
  const indexes: OutputLayout['indexes'][number][] = []
  for (const { prefix, folder, stem, tensors } of parts) {
    const shards = options.kind === 'folder' ? split(tensors, options.shardSize) : [tensors]
    const names = shards.map((_, index) =>
      options.kind === 'file' ? (options.fileName ?? OUTPUT.wholeNames[0]!) : shardName(stem, index, shards.length),
    )
    const owner = new Map<string, string>()
    for (const [index, shard] of shards.entries()) {
      const own = (name: string): string => name.slice(prefix.length)
      const ordered = [...shard].sort(writer.compare)
      const inside = prefix === '' ? ordered : ordered.map((tensor) => ({ ...tensor, name: own(tensor.name) }))
      const header = writer.header(inside, options.metadata, names[index]!)
      let offset = header.bytes
      for (const tensor of ordered) {
        const { name, dtype, shape, bytes } = tensor
        placed.push({ name, dtype, shape, bytes, file: files.length, offset })
        owner.set(own(tensor.name), names[index]!)
        offset += tensor.bytes
      }
      files.push({ name: `${folder}${names[index]!}`, size: offset, header: header.text })
    }
    if (shards.length > 1) {
      const bytes = tensors.reduce((sum, tensor) => sum + tensor.bytes, 0)
      if (owner.size < tensors.length) throw twice(tensors)
      indexes.push({ name: `${folder}${indexName(`${stem}${OUTPUT.extension}`)}`, text: indexText(owner, bytes) })
    }
  }
  return { files, tensors: placed, indexes }
}

const WHOLE = { prefix: '', folder: '', stem: 'model' }

/** Groups tensors by module, from the prefix of their names, in the order of modules. The remaining tensors are one group. */
function byModule<T extends TensorSpec>(tensors: readonly T[], modules: NonNullable<LayoutOptions['modules']>) {
  const parts = modules.map(({ name, stem }) => ({
    ...{ prefix: modulePrefix(name), folder: name === '' ? '' : `${name}/`, stem },
    tensors: [] as T[],
  }))
  const whole = parts.find(({ prefix }) => prefix === '') ?? { ...WHOLE, tensors: [] as T[] }
  for (const tensor of tensors) {
    const part = parts.find(({ prefix }) => prefix !== '' && tensor.name.startsWith(prefix)) ?? whole
    part.tensors.push(tensor)
  }
  const filled = parts.filter((part) => part.tensors.length > 0 || part === whole)
  return parts.includes(whole) || (whole.tensors.length === 0 && filled.length > 0) ? filled : [...filled, whole]
}

function sizeOf({ name, dtype, shape }: TensorSpec): number {
  const bits = elements(shape) * encodingOf(dtype).bits
  if (!Number.isSafeInteger(bits) || shape.some((size) => !Number.isSafeInteger(size) || size < 0))
    throw fault('too-large', `tensor ${quote(name)}: ${dtype} of shape [${shape.join(', ')}] has more bits than 2⁵³`)
  if (bits % 8 !== 0) throw new Error(`internal: tensor ${name} does not fill whole bytes`)
  return bits / 8
}

/** Maximum bytes of a header, minus room for metadata. */
const HEADER_ROOM = 0.98 * writer.mostHeaderBytes

/** Fills shards greedily, in the given order. Without `shardSize`, only the format's limit on headers splits. */
function split<T extends WrittenTensor>(tensors: readonly T[], shardSize?: number): T[][] {
  const shards: T[][] = [[]]
  let used = 0
  let header = 0
  for (const tensor of tensors) {
    const entry = writer.entryBytes(tensor)
    const full = used + tensor.bytes > (shardSize ?? Number.POSITIVE_INFINITY)
    if (shards.at(-1)!.length > 0 && (full || header + entry > HEADER_ROOM)) {
      shards.push([])
      used = 0
      header = 0
    }
    shards.at(-1)!.push(tensor)
    used += tensor.bytes
    header += entry
  }
  return shards
}

/** The hub's shard names: five digits, counted from 1. */
function shardName(stem: string, index: number, count: number): string {
  if (count === 1) return `${stem}${OUTPUT.extension}`
  const digits = (value: number) => String(value).padStart(5, '0')
  return `${stem}-${digits(index + 1)}-of-${digits(count)}${OUTPUT.extension}`
}

function indexText(owner: ReadonlyMap<string, string>, total: number): string {
  const entries = [...owner].sort(([a], [b]) => compareNames(a, b))
  const lines = entries.map(([name, file]) => `    ${jsonText(name)}: ${jsonText(file)}`)
  return `{\n  "metadata": {\n    "total_size": ${total}\n  },\n  "weight_map": {\n${lines.join(',\n')}\n  }\n}\n`
}

/** Error `bad-name`: two tensors in different files have the same name. */
function twice(tensors: readonly TensorSpec[]): Fault {
  const seen = new Set<string>()
  const name = tensors.find(({ name }) => seen.has(name) || !seen.add(name))?.name ?? ''
  return fault(
    'bad-name',
    `two tensors would have the name ${quote(name)}`,
    'change rename or the slices so that each tensor has its own name',
  )
}
