/**
 * The zip format of `torch.save` (PyTorch 1.6 and later): `NAME/data.pkl` describes the tensors, and `NAME/data/KEY` holds
 * each storage without compression, so tensors can be read in place (torch/serialization.py, caffe2/serialize).
 */

import { Buffer } from 'node:buffer'
import { type Fault, fault } from '../../../core/diagnostics.js'
import { quote } from '../../../core/suggest.js'
import { plural } from '../../../core/words.js'
import type { ByteSource } from '../../../storage/types.js'
import type { Contents } from './contents.js'
import { DAMAGED, HARMFUL } from './hints.js'
import { unpickle } from './pickle.js'
import { locateEntry, readZipDirectory, type StoredEntry, type ZipEntry } from './zip.js'

/** In bytes. A pickle takes about 200 bytes per tensor. */
export const MAX_PICKLE_BYTES = 64 * 2 ** 20

/** Whether a file is a zip archive, by its first bytes. */
export const isZip = (head: Uint8Array): boolean =>
  head[0] === 0x50 && head[1] === 0x4b && head[2] === 3 && head[3] === 4

/** Errors: those of `readZipDirectory`, `locateEntry` and `unpickle`, `not-pytorch`, `pickle-too-large`, `byte-order`. */
export async function readArchive(source: ByteSource): Promise<Contents> {
  const entries = await readZipDirectory(source)
  const root = findRoot(source, entries)
  await checkByteOrder(source, entries.get(`${root}byteorder`))
  const pickle = await locateEntry(source, entries.get(`${root}data.pkl`)!)
  if (pickle.size > MAX_PICKLE_BYTES)
    throw fault(
      'pickle-too-large',
      `${source.name}: the pickle has ${pickle.size} bytes, but terge reads at most ${MAX_PICKLE_BYTES}`,
      HARMFUL,
    )
  if (pickle.offset > MAX_PICKLE_BYTES)
    throw fault(
      'pickle-too-large',
      `${source.name}: the pickle starts only after ${pickle.offset} bytes`,
      'PyTorch writes data.pkl first: save the file again with torch.save',
    )
  const { value } = unpickle(await source.read(pickle.offset, pickle.size), 0, source.name)

  const located = new Map<string, StoredEntry>()
  return {
    value,
    headerBytes: pickle.offset + pickle.size,
    async locate({ key }, whose) {
      const known = located.get(key)
      if (known) return known
      const entry = entries.get(`${root}data/${key}`)
      if (!entry) throw missing(whose, key)
      const found = await locateEntry(source, entry)
      located.set(key, found)
      return found
    },
  }
}

const missing = (whose: string, key: string): Fault =>
  fault('missing-storage', `${whose}: its storage ${quote(key)} is not in the archive`, DAMAGED)

/** The top folder of the archive, with its `/`. */
function findRoot(source: ByteSource, entries: ReadonlyMap<string, ZipEntry>): string {
  const roots = [...entries.keys()]
    .filter((name) => /^([^/]*\/)?data\.pkl$/.test(name))
    .map((name) => name.slice(0, -'data.pkl'.length))
  const [root] = roots
  if (root === undefined)
    throw fault(
      'not-pytorch',
      `${source.name}: a zip archive without data.pkl, so not a PyTorch file`,
      'a model is a safetensors file, a PyTorch state dict, or a folder with one',
    )
  if (roots.length > 1)
    throw fault(
      'not-pytorch',
      `${source.name}: a zip archive with ${plural(roots.length, 'pickle')} of tensors`,
      'save each state dict in a file of its own',
    )
  if (entries.has(`${root}constants.pkl`))
    throw fault(
      'no-state-dict',
      `${source.name}: a TorchScript program, not a state dict`,
      'save the model with torch.save(model.state_dict(), …)',
    )
  return root
}

async function checkByteOrder(source: ByteSource, entry: ZipEntry | undefined): Promise<void> {
  if (!entry) return
  const { offset, size } = await locateEntry(source, entry)
  const order = size === 6 ? Buffer.from(await source.read(offset, size)).toString('latin1') : ''
  if (order !== 'little')
    throw fault(
      'byte-order',
      `${source.name}: the tensors are not in little-endian byte order`,
      'save the file again on a little-endian machine, or as safetensors',
    )
}
