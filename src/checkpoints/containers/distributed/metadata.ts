/**
 * `.metadata` of PyTorch's distributed checkpoints: a pickle with the names, shapes and chunks of all tensors, where each chunk is,
 * and the path of each entry in the nested state dict that was saved (torch/distributed/checkpoint/metadata.py, default_planner.py,
 * filesystem.py). terge reads the pickle and runs nothing in it.
 */

import { type Fault, fault } from '../../../core/diagnostics.js'
import { quote } from '../../../core/suggest.js'
import { nameInFolder } from '../../namesInFolder.js'
import { attributesOf, isOf, sizesOf } from '../pytorch/objects.js'
import { describe, isDict, isNatural, isOpaque, type Value } from '../pytorch/values.js'

const METADATA = 'torch.distributed.checkpoint.metadata'
const classes = (...names: readonly string[]): ReadonlySet<string> => new Set(names)
const WHOLE = classes(`${METADATA}.Metadata`)
const TENSOR = classes(`${METADATA}.TensorStorageMetadata`)
const BYTES = classes(`${METADATA}.BytesStorageMetadata`)
const CHUNK = classes(`${METADATA}.ChunkStorageMetadata`)
const INDEX = classes(`${METADATA}.MetadataIndex`)
const PROPERTIES = classes(
  `${METADATA}.TensorProperties`,
  'torch.distributed._shard.sharded_tensor.metadata.TensorProperties',
)
const STORAGE = classes('torch.distributed.checkpoint.filesystem._StorageInfo')
/** State dicts are nested a few levels deep. */
const MAX_DEPTH = 64

export const SAVE_AGAIN = 'save the checkpoint again with torch.distributed.checkpoint.save'

/** Where a chunk or a value is: a whole file of `torch.save` inside of a file. */
export interface Place {
  readonly file: string
  readonly offset: number
  readonly length: number
}

export interface Chunk {
  readonly starts: readonly number[]
  readonly shape: readonly number[]
  readonly place: Place
}

/** An entry of the flattened state dict. Those without chunks are Python values. */
export interface Entry {
  readonly name: string
  /** Its keys in the nested state dict. */
  readonly path: readonly string[]
  readonly tensor?: {
    /** The dtype as the pickle names it. */
    readonly dtype: Value
    readonly shape: readonly number[]
    /** Called only for tensors of the model, so that others may have any form. */
    chunks(): readonly Chunk[]
  }
}

type Dict = Map<Value, Value>

/** All entries, in the order of the file. Errors: `bad-chunks`, `unsupported-format`, `path-escape`. `shown` names the file. */
export function entriesOf(root: Value, shown: string): readonly Entry[] {
  const bad = (what: string): Fault => fault('bad-chunks', `${shown}: ${what}`, SAVE_AGAIN)
  const attributes = attributesOf(root, WHOLE)
  if (!attributes)
    throw fault('unsupported-format', `${shown}: ${describe(root)}, not metadata of a checkpoint`, SAVE_AGAIN)
  refuseVersion(attributes.get('version'), shown)
  const described = attributes.get('state_dict_metadata')
  if (described === undefined || !isDict(described)) throw bad('the description of the tensors is missing')
  const places = placesOf(attributes.get('storage_data'), shown)
  const paths = attributes.get('planner_data') ?? null
  const entries: Entry[] = []
  for (const [name, value] of described) {
    if (typeof name !== 'string') throw bad(`an entry whose name is ${describe(name)}`)
    const whose = `${shown}: ${quote(name)}`
    const path = pathOf(isDict(paths) ? paths.get(name) : undefined, name)
    if (!path) throw fault('bad-chunks', `${whose}: its path in the state dict is damaged`, SAVE_AGAIN)
    const tensor = attributesOf(value, TENSOR)
    if (!tensor && !isOf(value, BYTES))
      throw fault(
        'unsupported-format',
        `${whose} is stored as ${describe(value)}, which terge does not read`,
        SAVE_AGAIN,
      )
    entries.push({ name, path, ...(tensor ? { tensor: tensorOf(name, tensor, places, whose) } : {}) })
  }
  return entries
}

/** Version 1.0.0 is the first; older files have none. */
function refuseVersion(version: Value | undefined, shown: string): void {
  if (version === undefined || version === null || (typeof version === 'string' && /^1\./.test(version))) return
  throw fault(
    'unsupported-format',
    `${shown}: version ${typeof version === 'string' ? quote(version) : describe(version)} of distributed checkpoints`,
    'terge reads version 1: load the checkpoint in PyTorch and save the weights as safetensors',
  )
}

/** The keys of an entry; the name itself if the state dict was saved without nesting. Undefined if they are damaged. */
function pathOf(value: Value | undefined, name: string): readonly string[] | undefined {
  if (value === undefined || value === null) return [name]
  if (!Array.isArray(value) || value.length === 0 || value.length > MAX_DEPTH) return undefined
  const keys = value.flatMap((key) => (typeof key === 'string' || typeof key === 'number' ? [String(key)] : []))
  return keys.length === value.length ? keys : undefined
}

function tensorOf(
  name: string,
  tensor: ReadonlyMap<Value, Value>,
  places: ReadonlyMap<string, Value>,
  whose: string,
): NonNullable<Entry['tensor']> {
  const bad = (what: string): Fault => fault('bad-chunks', `${whose}: ${what}`, SAVE_AGAIN)
  const shape = sizesOf(tensor.get('size'))
  const chunks = tensor.get('chunks')
  if (!shape || !Array.isArray(chunks)) throw bad('its shape or its chunks are damaged')
  return {
    dtype: dtypeIn(tensor.get('properties')),
    shape,
    chunks: () =>
      chunks.map((chunk): Chunk => {
        const attributes = attributesOf(chunk, CHUNK)
        const starts = sizesOf(attributes?.get('offsets'))
        const sizes = sizesOf(attributes?.get('sizes'))
        if (starts?.length !== shape.length || sizes?.length !== shape.length)
          throw bad('a chunk whose offsets or sizes are damaged')
        const info = places.get(keyOf(name, starts))
        if (info === undefined) throw bad(`the chunk at ${listed(starts)} is not stored anywhere`)
        return { starts, shape: sizes, place: placeOf(info, whose) }
      }),
  }
}

/** The dtype is the first of a tensor's properties. */
function dtypeIn(properties: Value | undefined): Value {
  if (properties === undefined || !isOf(properties, PROPERTIES) || !isOpaque(properties)) return null
  const state = properties.parts[1] ?? null
  if (Array.isArray(state)) return state[0] ?? null
  return isDict(state) ? (state.get('dtype') ?? null) : null
}

const listed = (numbers: readonly number[]): string => `[${numbers.join(', ')}]`

/** Entries are found by their name and the first element of the chunk. Values have no offset. */
const keyOf = (name: string, offset: readonly number[] | undefined): string => `${offset ?? ''}:${name}`

/** What the metadata say about each place. Every file name is checked, even of values that terge does not read. */
function placesOf(value: Value | undefined, shown: string): ReadonlyMap<string, Value> {
  const bad = (what: string): Fault => fault('bad-chunks', `${shown}: ${what}`, SAVE_AGAIN)
  if (value === undefined || !isDict(value)) throw bad('the list of places is missing')
  const places = new Map<string, Value>()
  const seen = new Set<string>()
  for (const [index, info] of value as Dict) {
    const attributes = attributesOf(index, INDEX)
    const name = attributes?.get('fqn')
    const offset = attributes?.get('offset') ?? null
    const starts = offset === null ? undefined : sizesOf(offset)
    if (typeof name !== 'string' || (offset !== null && !starts)) throw bad('an entry of the list of places is damaged')
    const key = keyOf(name, starts)
    if (places.has(key)) throw bad(`${quote(name)} is listed twice for the same elements`)
    const file = attributesOf(info, STORAGE)?.get('relative_path')
    if (typeof file === 'string' && !seen.has(file))
      seen.add(nameInFolder(file, shown, 'a distributed checkpoint may name'))
    places.set(key, info)
  }
  return places
}

function placeOf(info: Value, whose: string): Place {
  const attributes = attributesOf(info, STORAGE)
  if (!attributes)
    throw fault(
      'unsupported-format',
      `${whose} is stored in a way that terge does not know: ${describe(info)}`,
      'terge reads checkpoints that FileSystemWriter wrote: load it in PyTorch and save the weights as safetensors',
    )
  const transforms = attributes.get('transform_descriptors') ?? null
  if (transforms !== null && !(Array.isArray(transforms) && transforms.length === 0))
    throw fault(
      'unsupported-format',
      `${whose} is stored with a transformation (${transformNames(transforms)}), such as compression`,
      'save the checkpoint again without extensions',
    )
  const [file, offset, length] = ['relative_path', 'offset', 'length'].map((key) => attributes.get(key))
  if (typeof file !== 'string' || !isNatural(offset) || !isNatural(length))
    throw fault('bad-chunks', `${whose}: the place of a chunk is damaged`, SAVE_AGAIN)
  return { file, offset, length }
}

const transformNames = (value: Value): string =>
  Array.isArray(value)
    ? value
        .slice(0, 4)
        .map((one) => (typeof one === 'string' ? one : describe(one)))
        .join(', ')
    : describe(value)
