/**
 * PyTorch's distributed checkpoints (`torch.distributed.checkpoint`): a folder with `.metadata` and `.distcp` files, as FSDP and other
 * trainers write it. The chunks of a tensor can be in any file; terge reads them in place.
 */
import { Buffer } from 'node:buffer'
import { eachOf } from '../../../core/collections/eachOf.js'
import { type Fault, fault } from '../../../core/diagnostics.js'
import { sha256 } from '../../../core/digest.js'
import { quote } from '../../../core/suggest.js'
import { isLfsPointer, LFS_HINT, LFS_POINTER } from '../../../storage/lfs.js'
import type { OpenFile } from '../../../storage/types.js'
import { type Allowance, takeHeader } from '../allowance.js'
import { dtypeOf } from '../pytorch/globals.js'
import { dtypeName } from '../pytorch/objects.js'
import { unpickle } from '../pytorch/pickle.js'
import { outputAllowance } from '../pytorch/tensors.js'
import type { BoxedTensor, FolderContainer, FolderHeader, FolderSource, StoredBox } from '../types.js'
import { locateChunk, type WantedChunk } from './chunks.js'
import { entriesOf, SAVE_AGAIN } from './metadata.js'
import { modelEntries } from './model.js'

const METADATA = '.metadata'
export const DISTCP = '.distcp'
/** In bytes. A chunk takes about 250. */
const MAX_METADATA_BYTES = 256 * 2 ** 20
/** Memory per chunk in bytes, without the name of its tensor. */
const CHUNK_COST = 500
/** Files that are read in parallel. */
const PARALLEL = 4

interface MadeTensor extends BoxedTensor {
  readonly boxes: StoredBox[]
}

/** Errors: those of `entriesOf`, `modelEntries` and `locateChunk`, `no-weights`, `unsupported-format`, `unknown-dtype`, `header-memory`. */
async function open(source: FolderSource, allowance: Allowance): Promise<FolderHeader> {
  const { value, size, digest } = await readMetadata(source, allowance)
  const shown = `${source.name}/${METADATA}`
  const { tensors: chosen, skipped } = modelEntries(entriesOf(value, shown), shown)
  const made: MadeTensor[] = []
  const wanted = new Map<string, { readonly of: MadeTensor; readonly chunk: WantedChunk }[]>()
  for (const [name, { tensor }] of chosen) {
    const dtype = dtypeOf(tensor!.dtype)
    if (!dtype)
      throw fault(
        'unknown-dtype',
        `${shown}: tensor ${quote(name)} has the dtype ${quote(dtypeName(tensor!.dtype))}, which terge does not read`,
        'convert it in PyTorch, then save the checkpoint again',
      )
    const of: MadeTensor = { name, dtype, shape: tensor!.shape, boxes: [] }
    made.push(of)
    for (const chunk of tensor!.chunks()) {
      allowance.left -= CHUNK_COST + 2 * name.length
      if (allowance.left < 0) throw tooMany(shown)
      const inFile = wanted.get(chunk.place.file) ?? []
      wanted.set(chunk.place.file, inFile)
      inFile.push({ of, chunk: { ...chunk, tensor: name, dtype } })
    }
  }
  const names = [...wanted.keys()].sort()
  const files: FolderHeader['files'][number][] = [{ name: METADATA, size, headerDigest: digest }]
  const opened = await sizesOf(source, names)
  const expansion = outputAllowance(opened.reduce((sum, bytes) => sum + bytes, 0))
  await eachOf([...names.entries()], PARALLEL, async ([index, name]) => {
    const file = await source.open(name)
    try {
      const chunks = wanted.get(name)!.sort((a, b) => a.chunk.place.offset - b.chunk.place.offset)
      const headers: string[] = []
      for (const { of, chunk } of chunks) {
        const { box, header } = await locateChunk(file, index + 1, chunk, expansion)
        takeHeader(allowance, header.length, file.name)
        headers.push(sha256(header))
        of.boxes.push(box)
      }
      files[index + 1] = { name, size: file.size, headerDigest: sha256(Buffer.from(headers.join('\n'))) }
    } finally {
      await file.close()
    }
  })
  // Files are read in parallel: the order of boxes must not depend on that.
  for (const { boxes } of made) boxes.sort((a, b) => a.file - b.file || a.offset - b.offset)
  return { files, tensors: made, skipped }
}

async function sizesOf(source: FolderSource, names: readonly string[]): Promise<number[]> {
  const sizes: number[] = []
  for (const name of names) await withFile(source, name, async ({ size }) => sizes.push(size))
  return sizes
}

async function withFile<T>(source: FolderSource, name: string, work: (file: OpenFile) => Promise<T>): Promise<T> {
  const file = await source.open(name)
  try {
    return await work(file)
  } finally {
    await file.close()
  }
}

const tooMany = (shown: string): Fault =>
  fault(
    'header-memory',
    `${shown}: the checkpoint describes more chunks than terge can hold in memory`,
    'load it in PyTorch and save the weights as safetensors',
  )

async function readMetadata(source: FolderSource, allowance: Allowance) {
  const shown = `${source.name}/${METADATA}`
  if (!source.names.includes(METADATA)) throw withoutMetadata(source)
  return withFile(source, METADATA, async ({ size, read }) => {
    if (size > MAX_METADATA_BYTES)
      throw fault(
        'pickle-too-large',
        `${shown}: it has ${size} bytes, but terge reads at most ${MAX_METADATA_BYTES}`,
        SAVE_AGAIN,
      )
    takeHeader(allowance, size, shown)
    const bytes = await read(0, size)
    if (isLfsPointer(bytes)) throw fault('unsupported-format', `${shown}: ${LFS_POINTER}`, LFS_HINT)
    return { value: unpickle(bytes, 0, shown).value, size, digest: sha256(bytes) }
  })
}

function withoutMetadata({ name, names }: FolderSource): Fault {
  const own = names.find((file) => /^__\d+\.metadata$/.test(file))
  return own === undefined
    ? fault(
        'no-weights',
        `${name}: ${DISTCP} files of a distributed checkpoint without ${METADATA}, which is written last`,
        `copy ${METADATA} too: it is a hidden file. If there is none, the save did not finish`,
      )
    : fault(
        'unsupported-format',
        `${name}: a distributed checkpoint with metadata per rank (${own}), saved with use_collectives=False`,
        'save it again with collectives, or load it in PyTorch and save the weights as safetensors',
      )
}

export const distributed: FolderContainer = {
  described: 'a distributed checkpoint',
  recognises: (names) => names.some((name) => name.endsWith(DISTCP)),
  open,
}
