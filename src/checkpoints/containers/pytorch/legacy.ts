/**
 * The format of `torch.save` before PyTorch 1.6: pickles one after the other (a magic number, the protocol, the writing
 * system, the object, the list of storages), then each storage: its length in 8 bytes, and its elements
 * (torch/serialization.py, `_legacy_save`). Older files still, tar archives, are not read.
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

/** Bytes that are read at first; enough for most models. */
const FIRST_READ = 2 ** 20
const MAGIC = 0x1950a86a20f9469cfc6cn
const PROTOCOL = 1001

interface Pickles {
  readonly value: Value
  readonly keys: readonly Value[]
  readonly storages: ReadonlyMap<string, StorageRef>
  readonly end: number
}

/** Faults: those of `unpickle`, `pickle-too-large`, `legacy-header`, `byte-order`, `bad-storage`. */
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

/** Nothing says how long the pickles are, so a longer beginning is read until it holds them. */
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
  if (next() !== MAGIC) throw wrong('it does not begin as a PyTorch file does')
  if (next() !== PROTOCOL) throw wrong('a version of the format that is not known')
  const system = next()
  if (!isDict(system)) throw wrong('the description of the writing system is not a dictionary')
  if (system.get('little_endian') !== true)
    throw fault(
      'byte-order',
      `${name}: the tensors are not in little-endian byte order`,
      'save the file again on a common machine, or as safetensors',
    )
  const value = next()
  const keys = next()
  if (!Array.isArray(keys)) throw wrong('the list of its storages is missing')
  return { value, keys, storages, end: at }
}

/** All descriptions of a storage must agree, or nobody could say where the next one begins. */
function noteStorage(storages: Map<string, StorageRef>, storage: StorageRef, name: string): void {
  const known = storages.get(storage.key)
  if (known && (known.type !== storage.type || known.length !== storage.length))
    throw fault('bad-storage', `${name}: storage ${quote(storage.key)} is described in two ways`, DAMAGED)
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
      throw bad('its list of storages names one that no tensor has, or one twice')
    if (storage.width === 0) throw bad(`storage ${quote(storage.key)} is of an unknown class, ${quote(storage.type)}`)
    const length = at + 8 <= source.size ? Buffer.from(await source.read(at, 8)).readBigUInt64LE() : undefined
    if (length === undefined) throw bad('the file ends before its storages do')
    if (length !== BigInt(storage.length))
      throw bad(`storage ${quote(storage.key)} has ${length} elements, its tensors expect ${storage.length}`)
    const size = storage.length * storage.width
    if (!(at + 8 + size <= source.size))
      throw bad(`storage ${quote(storage.key)} has ${size} bytes, the file ends before`)
    places.set(storage.key, { offset: at + 8, size })
    at += 8 + size
  }
  return places
}
