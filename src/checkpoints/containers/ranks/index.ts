/**
 * Models with one file per rank: `model_world_size_W_rank_R.pt`, each `torch.save` of a state dict of sharded tensors, as verl writes
 * them (verl/utils/checkpoint/fsdp_checkpoint_manager.py). Configuration and tokenizer are in the folder `huggingface`.
 */
import { mapEach } from '../../../core/collections/eachOf.js'
import { type Fault, fault } from '../../../core/diagnostics.js'
import { sha256 } from '../../../core/digest.js'
import { quote } from '../../../core/suggest.js'
import { plural } from '../../../core/words.js'
import type { OpenFile } from '../../../storage/types.js'
import { type Allowance, takeHeader } from '../allowance.js'
import type { Contents } from '../pytorch/contents.js'
import { readContents } from '../pytorch/index.js'
import { chooseDict, hiddenRefuser, NOT_WEIGHTS } from '../pytorch/stateDict.js'
import { outputAllowance, placeTensor } from '../pytorch/tensors.js'
import { describe } from '../pytorch/values.js'
import type { BoxedTensor, ContainerTensor, FolderContainer, FolderHeader, FolderSource, StoredBox } from '../types.js'
import { isRankTensor, type Placement, type Sharded, shardedOf } from './sharded.js'
import { meshOf, shareOf } from './shares.js'

const FILE = /^model_world_size_(\d{1,6})_rank_(\d{1,6})\.pt$/
const PARALLEL = 4
/** Bytes of tensors that every rank has. They are compared, since parts that nobody describes look alike. */
const SAMPLE = 2 ** 16
/** Memory per shard in bytes, without the name of its tensor. */
const SHARD_COST = 500
const COPY_AGAIN = 'copy the files of all ranks again, or merge them into one model with the trainer'

/** A rank's part of a tensor and where its shards are. */
interface Held extends Omit<Sharded, 'shards'> {
  readonly shards: readonly { readonly stored: Omit<ContainerTensor, 'name'>; readonly starts?: readonly number[] }[]
  /** Of the first bytes of a tensor that every rank has. */
  readonly sample?: string
}

interface RankFile {
  readonly name: string
  readonly size: number
  readonly headerDigest: string
  readonly tensors: ReadonlyMap<string, Held>
  readonly skipped: readonly string[]
}

/** Errors: those of `readContents`, `chooseDict`, `shardedOf`, `sharesOf` and `placeTensor`; `ambiguous-checkpoint`, `missing-shard`, `bad-chunks`. */
async function open(source: FolderSource, allowance: Allowance): Promise<FolderHeader> {
  const names = rankNames(source)
  const files = await mapEach(names, PARALLEL, (name) => readRank(source, name, allowance))
  const tensors: BoxedTensor[] = []
  for (const name of new Set(files.flatMap((file) => [...file.tensors.keys()]))) {
    const lacking = files.find((file) => !file.tensors.has(name))
    if (lacking)
      throw fault(
        'bad-chunks',
        `${source.name}: ${lacking.name} has no tensor ${quote(name)}, but other ranks do`,
        COPY_AGAIN,
      )
    tensors.push(boxed(name, files, source.name))
  }
  return {
    files: files.map(({ name, size, headerDigest }) => ({ name, size, headerDigest })),
    tensors,
    skipped: files[0]!.skipped.map((name) => ({ name, entries: 1 })),
  }
}

/** The files of all ranks in order. */
function rankNames({ name, names }: FolderSource): string[] {
  const found = names.flatMap((file) => {
    const [, world, rank] = FILE.exec(file) ?? []
    return world === undefined ? [] : [{ file, world: Number(world), rank: Number(rank) }]
  })
  const [world, ...others] = new Set(found.map((one) => one.world))
  if (others.length > 0)
    throw fault(
      'ambiguous-checkpoint',
      `${name}: files of models that were saved by ${world} and by ${others[0]} ranks`,
      'remove the files of one of them',
    )
  const byRank = new Map(found.map(({ file, rank }) => [rank, file]))
  const missing = Array.from({ length: Math.min(world!, found.length + 1) }, (_, rank) => rank).find(
    (rank) => !byRank.has(rank),
  )
  if (missing !== undefined)
    throw fault(
      'missing-shard',
      `${name}: the model was saved by ${plural(world!, 'rank')}, but the file of rank ${missing} does not exist`,
      `copy model_world_size_${world}_rank_${missing}.pt too`,
    )
  if (byRank.size > world!)
    throw fault(
      'bad-chunks',
      `${name}: ${byRank.size} files of ${plural(world!, 'rank')}`,
      'remove the files that do not belong to the model',
    )
  return [...byRank].sort(([a], [b]) => a - b).map(([, file]) => file)
}

async function readRank(source: FolderSource, name: string, allowance: Allowance): Promise<RankFile> {
  const file = await source.open(name)
  try {
    const contents = await readContents(file)
    takeHeader(allowance, contents.headerBytes, file.name)
    const { dict } = chooseDict(contents.value, file.name, isRankTensor)
    const refuse = hiddenRefuser(dict)
    const expansion = outputAllowance(file.size)
    const tensors = new Map<string, Held>()
    const skipped: string[] = []
    for (const [key, value] of dict) {
      const shown = typeof key === 'string' ? quote(key) : describe(key)
      const whose = `${file.name}: entry ${shown}`
      const sharded = typeof key === 'string' ? shardedOf(value, whose) : undefined
      if (typeof key === 'string' && sharded) {
        allowance.left -= sharded.shards.length * SHARD_COST + 2 * key.length
        if (allowance.left < 0)
          throw fault(
            'header-memory',
            `${file.name}: the files describe more tensors than any real model has`,
            COPY_AGAIN,
          )
        tensors.set(key, await held(key, sharded, file, contents, expansion))
      } else {
        if (!(typeof key === 'string' && NOT_WEIGHTS.test(key))) refuse(value, whose)
        skipped.push(typeof key === 'string' ? key : describe(key))
      }
    }
    return { name, size: file.size, headerDigest: sha256(await file.read(0, contents.headerBytes)), tensors, skipped }
  } finally {
    await file.close()
  }
}

/** Finds the shards of a tensor in the file of a rank. */
async function held(
  name: string,
  { shards, ...sharded }: Sharded,
  file: OpenFile,
  { locate }: Contents,
  expansion: { left: number },
): Promise<Held> {
  const found: Held['shards'][number][] = []
  for (const { tensor, starts, shape } of shards) {
    const { name: _, ...stored } = await placeTensor(name, tensor, file.name, locate, expansion)
    const whose = `${file.name}: tensor ${quote(name)}`
    if (sharded.whole && stored.dtype !== sharded.whole.dtype)
      throw fault('bad-chunks', `${whose} is ${sharded.whole.dtype}, but its part is ${stored.dtype}`, COPY_AGAIN)
    if (shape && !isSame(stored.shape, shape))
      throw fault(
        'bad-chunks',
        `${whose}: a part of shape [${stored.shape}] whose description says [${shape}]`,
        COPY_AGAIN,
      )
    found.push({ stored, ...(starts ? { starts } : {}) })
  }
  if (sharded.kind !== 'copy') return { ...sharded, shards: found }
  const { offset, bytes } = found[0]!.stored
  return { ...sharded, shards: found, sample: sha256(await file.read(offset, Math.min(bytes, SAMPLE))) }
}

const isSame = (one: readonly number[], other: readonly number[]): boolean =>
  one.length === other.length && one.every((size, axis) => size === other[axis])

/** The boxes of a tensor in the files of all ranks, which must agree about it. */
function boxed(name: string, files: readonly RankFile[], shown: string): BoxedTensor {
  const whose = `${shown}: tensor ${quote(name)}`
  const parts = files.map(({ tensors }) => tensors.get(name)!)
  const [{ kind, whole, shards, placements, sample }] = parts as [Held]
  const told = ({ kind, whole, placements, shards }: Held): string =>
    JSON.stringify([kind, whole, placements, whole ? [] : [shards[0]!.stored.dtype, shards[0]!.stored.shape]])
  const other = parts.findIndex((part) => told(part) !== told(parts[0]!))
  if (other > 0)
    throw fault(
      'bad-chunks',
      `${whose} has another shape, dtype or placement in ${files[other]!.name} than in ${files[0]!.name}`,
      COPY_AGAIN,
    )
  if (kind === 'copy') {
    const differs = parts.findIndex((part) => part.sample !== sample)
    if (differs > 0)
      throw fault(
        'bad-chunks',
        `${whose} is whole in every file, but ${files[differs]!.name} has other values than ${files[0]!.name}`,
        'terge cannot know which one is right: save the model as whole tensors',
      )
    const { stored } = shards[0]!
    return {
      name,
      dtype: stored.dtype,
      shape: stored.shape,
      boxes: [{ ...stored, file: 0, starts: stored.shape.map(() => 0) }],
    }
  }
  const { dtype, shape } = whole!
  const boxes =
    kind === 'boxes'
      ? parts.flatMap(({ shards }, file) =>
          shards.map(({ stored, starts }): StoredBox => ({ ...stored, file, starts: starts! })),
        )
      : meshBoxes(parts, placements!, shape, whose)
  return { name, dtype, shape, boxes }
}

function meshBoxes(
  parts: readonly Held[],
  placements: readonly Placement[],
  shape: readonly number[],
  whose: string,
): StoredBox[] {
  const bad = (what: string): Fault => fault('unreadable-tensor', `${whose}: ${what}`, COPY_AGAIN)
  // A mesh of one axis has its ranks in order.
  const places = parts.map(({ coordinates }, rank) => coordinates ?? (placements.length === 1 ? [rank] : []))
  const mesh = meshOf(places)
  if (mesh?.length !== placements.length)
    throw bad(`its mesh does not have the ${plural(parts.length, 'rank')} of the files`)
  const boxes: StoredBox[] = []
  for (const [file, { shards }] of parts.entries()) {
    const share = shareOf(shape, mesh, places[file]!, placements, bad)
    if (!share) continue
    const { stored } = shards[0]!
    if (!isSame(stored.shape, share.shape))
      throw fault(
        'bad-chunks',
        `${whose}: the part of rank ${file} has the shape [${stored.shape}], but its placement gives [${share.shape}]`,
        COPY_AGAIN,
      )
    boxes.push({ ...stored, file, starts: share.starts })
  }
  return boxes
}

export const ranks: FolderContainer = {
  described: 'a model with one file per rank',
  small: 'huggingface',
  recognises: (names) => names.some(isRankFile),
  open,
}

/** Whether a file of this name holds the parts of one rank. */
export const isRankFile = (name: string): boolean => FILE.test(name)
