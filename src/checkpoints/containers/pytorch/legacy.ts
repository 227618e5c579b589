/**
 * The format of `torch.save` before PyTorch 1.6. It starts with five pickles: a magic number, the protocol, the system
 * that wrote the file, the object, and the list of storages. Then come the storages, each with its length in 8 bytes and its
 * elements (torch/serialization.py, `_legacy_save`). terge does not read the even older tar archives.
 */
import { Buffer } from 'node:buffer'
import { Fault, fault } from '../../../core/diagnostics.js'
import { quote } from '../../../core/suggest.js'
import type { ByteSource } from '../../../storage/types.js'
import { MAX_PICKLE_BYTES } from './archive.js'
import type { Contents } from './contents.js'
import { DAMAGED, HARMFUL } from './hints.js'
import { unpickle } from './pickle.js'
import { PICKLE_MEMORY } from './pickleReader.js'
import { isDict, type StorageRef, type Value } from './values.js'
import type { StoredEntry } from './zip.js'

/** Bytes of the first read; enough for most models. */
const FIRST_READ = 2 ** 20
const MAGIC = 0x1950a86a20f9469cfc6cn
const PROTOCOL = 1001

interface Pickles {
  readonly value: Value
  readonly keys: readonly Value[]
  readonly storages: ReadonlyMap<string, StorageRef>
  readonly end: number
}

/** Errors: those of `unpickle`, `pickle-too-large`, `legacy-header`, `byte-order`, `bad-storage`. */
export async function readLegacy(source: ByteSource): Promise<Contents> {
  const { value, keys, storages, end } = await readPickles(source)
  const places = await placeStorages(source, keys, storages, end)
  return {
    value,
    headerBytes: end,
    locate(storage, whose) {
      const place = places.get(storage.key)
      if (!place)
        throw fault('missing-storage', `${whose}: its storage ${quote(storage.key)} is not in the file`, DAMAGED)
      return place
    },
  }
}

/** The file does not say how long the pickles are, so terge reads more and more of it until it has them all. */
async function readPickles(source: ByteSource): Promise<Pickles> {
  for (let length = FIRST_READ; ; length *= 4) {
    const bytes = await source.read(0, Math.min(length, source.size, MAX_PICKLE_BYTES))
    try {
      return parsePickles(bytes, source.name)
    } catch (error) {
      if (
        !(error instanceof Fault) ||
        error.diagnostics[0]?.code !== 'pickle-truncated' ||
        bytes.length === source.size
      )
        throw error
      if (bytes.length === MAX_PICKLE_BYTES)
        throw fault(
          'pickle-too-large',
          `${source.name}: its pickle does not end within ${MAX_PICKLE_BYTES} bytes`,
          HARMFUL,
        )
    }
  }
}

function parsePickles(bytes: Uint8Array, name: string): Pickles {
  const budget = { left: PICKLE_MEMORY }
  const storages = new Map<string, StorageRef>()
  const onStorage = (storage: StorageRef): void => noteStorage(storages, storage, name)
  let at = 0
  const next = (): Value => {
    const { value, end } = unpickle(bytes, at, name, { budget, onStorage })
    at = end
    return value
  }
  const wrong = (what: string): Fault => fault('legacy-header', `${name}: ${what}`, DAMAGED)
  if (next() !== MAGIC) throw wrong('it does not start like a PyTorch file')
  if (next() !== PROTOCOL) throw wrong('unknown version of the format')
  const system = next()
  if (!isDict(system)) throw wrong('the description of the writing system is not a dictionary')
  if (system.get('little_endian') !== true)
    throw fault(
      'byte-order',
      `${name}: the tensors are not in little-endian byte order`,
      'save the file again on a little-endian machine, or as safetensors',
    )
  const value = next()
  const keys = next()
  if (!Array.isArray(keys)) throw wrong('its list of storages is missing')
  return { value, keys, storages, end: at }
}

/** All descriptions of a storage must agree: its size decides where the next storage starts. */
function noteStorage(storages: Map<string, StorageRef>, storage: StorageRef, name: string): void {
  const known = storages.get(storage.key)
  if (known && (known.type !== storage.type || known.length !== storage.length))
    throw fault('bad-storage', `${name}: storage ${quote(storage.key)} has two different descriptions`, DAMAGED)
  storages.set(storage.key, storage)
}

async function placeStorages(
  source: ByteSource,
  keys: readonly Value[],
  storages: ReadonlyMap<string, StorageRef>,
  start: number,
): Promise<Map<string, StoredEntry>> {
  const bad = (what: string): Fault => fault('bad-storage', `${source.name}: ${what}`, DAMAGED)
  const places = new Map<string, StoredEntry>()
  let at = start
  for (const key of keys) {
    const storage = typeof key === 'string' ? storages.get(key) : undefined
    if (!storage || places.has(storage.key))
      throw bad('its list of storages has a duplicate, or a storage that no tensor uses')
    if (storage.width === 0) throw bad(`storage ${quote(storage.key)} has the unknown class ${quote(storage.type)}`)
    const length = at + 8 <= source.size ? Buffer.from(await source.read(at, 8)).readBigUInt64LE() : undefined
    if (length === undefined) throw bad('the file ends before its storages do')
    if (length !== BigInt(storage.length))
      throw bad(`storage ${quote(storage.key)} has ${length} elements, but its tensors expect ${storage.length}`)
    const size = storage.length * storage.width
    if (!(at + 8 + size <= source.size))
      throw bad(`storage ${quote(storage.key)} has ${size} bytes, but the file ends earlier`)
    places.set(storage.key, { offset: at + 8, size })
    at += 8 + size
  }
  return places
}
