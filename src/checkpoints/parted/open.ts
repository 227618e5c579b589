/** Opens a folder in which tensors are spread over files in parts: distributed checkpoints, and models with one file per rank. */
import path from 'node:path'
import { type Diagnostic, fault } from '../../core/diagnostics.js'
import { quote } from '../../core/suggest.js'
import { counted } from '../../core/words.js'
import { type Bounds, FileProblem, fileFault } from '../../storage/local/regular.js'
import type { Store } from '../../storage/types.js'
import type { Allowance } from '../containers/allowance.js'
import type { FolderContainer, FolderHeader, FolderSource } from '../containers/types.js'
import { holdSmallFiles } from '../heldFiles.js'
import { withQuantized } from '../quantized.js'
import { findSidecars, readConfigFile } from '../sidecars.js'
import type { Checkpoint, CheckpointFile, LogicalTensor, StoredTensor } from '../types.js'
import { joined } from './boxes.js'

/** Skipped entries that a warning names. */
const MOST_NAMED = 8

export interface PartedFolder {
  readonly reference: string
  readonly folder: string
  readonly names: readonly string[]
  /** Its name in messages. */
  readonly shown: string
  readonly store: Store
  readonly allowance: Allowance
  readonly within: Bounds
}

/**
 * Opens a folder of one of these formats. Errors: those of the format and of `joined`, `missing-shard`. Warning: `skipped-entries`.
 */
export async function openParted(container: FolderContainer, at: PartedFolder): Promise<Checkpoint> {
  const { reference, folder, shown, store, allowance, within } = at
  const small = await smallFolder(container, at)
  const { sidecars, leftOut } = await findSidecars(small.folder, small.names, within, false)
  const configured = small.names.includes('config.json')
  const read = configured
    ? await readConfigFile(path.join(small.folder, 'config.json'), `${small.shown}/config.json`, within)
    : undefined
  const header = await container.open(sourceOf(at), allowance)
  const stored = new Map<string, StoredTensor>()
  const tensors: LogicalTensor[] = []
  for (const boxed of header.tensors) {
    const { tensor, parts } = joined(boxed, shown)
    tensors.push(tensor)
    for (const part of parts) {
      if (stored.has(part.name))
        throw fault(
          'bad-chunks',
          `${shown}: two parts of tensors have the name ${quote(part.name)}`,
          'rename one of the tensors in PyTorch and save the checkpoint again',
        )
      stored.set(part.name, part)
    }
  }
  const skipped = header.skipped.map(({ name, entries }) =>
    entries === 1 ? quote(name) : `${quote(name)} (${counted(entries, 'entry', 'entries')})`,
  )
  const checkpoint: Checkpoint = {
    ...{ reference, layout: 'folder', path: folder, metadata: {} },
    files: filesOf(folder, header, [...stored.values()]),
    stored: byName([...stored.values()]),
    tensors: byName(tensors),
    ...(read ? { config: read.config, configText: read.text } : {}),
    ...(small.folder === folder ? {} : { smallFolder: small.folder }),
    sidecars: [...sidecars].sort(),
    ...(skipped.length > 0 ? { skipped, warnings: [skippedEntries(shown, header.skipped, skipped)] } : {}),
    ...(leftOut.length > 0 ? { leftOut } : {}),
  }
  return withQuantized(checkpoint, (file) =>
    store.open(checkpoint.files[file]!.name, `${shown}/${checkpoint.files[file]!.name}`),
  )
}

/** The folder with configuration and tokenizer, and its entries. */
async function smallFolder({ small }: FolderContainer, { folder, names, shown, store }: PartedFolder) {
  const own = { folder, names, shown }
  if (small === undefined || names.includes('config.json') || !names.includes(small)) return own
  const inner = await holdSmallFiles(store, small).catch((): string[] => [])
  return inner.length === 0 ? own : { folder: path.join(folder, small), names: inner, shown: `${shown}/${small}` }
}

function sourceOf({ folder, names, shown, store }: PartedFolder): FolderSource {
  return {
    name: shown,
    names,
    open: (name) =>
      store.open(name, `${shown}/${name}`).catch((error: unknown) => {
        if (!(error instanceof FileProblem) || error.kind !== 'missing') throw fileFault(error, `${shown}/${name}`)
        throw fault(
          'missing-shard',
          `${shown}: the checkpoint has the file ${name}, which does not exist`,
          `copy the missing file to ${folder}`,
        )
      }),
  }
}

/** The data of the rest of a file, such as the state of an optimizer, are never read. */
function filesOf(folder: string, { files }: FolderHeader, stored: readonly StoredTensor[]): CheckpointFile[] {
  const bytes = files.map(() => 0)
  for (const tensor of stored) bytes[tensor.file]! += tensor.bytes
  return files.map(({ name, size, headerDigest }, file) => ({
    ...{ name, path: path.join(folder, ...name.split('/')), size, headerDigest },
    headerBytes: Math.max(0, size - bytes[file]!),
  }))
}

const byName = <T extends { readonly name: string }>(all: readonly T[]): ReadonlyMap<string, T> =>
  new Map(
    [...all].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0)).map((one) => [one.name, one] as const),
  )

function skippedEntries(shown: string, all: FolderHeader['skipped'], texts: readonly string[]): Diagnostic {
  const count = all.reduce((sum, { entries }) => sum + entries, 0)
  const more = texts.length > MOST_NAMED ? ', …' : ''
  return {
    severity: 'warning',
    code: 'skipped-entries',
    message: `${shown}: skips ${counted(count, 'entry', 'entries')} that ${count === 1 ? 'is' : 'are'} not tensors of the model: ${texts.slice(0, MOST_NAMED).join(', ')}${more}`,
    hint: 'if the model needs one of them, save it as a tensor of the state dict of the model',
  }
}
