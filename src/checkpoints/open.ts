/** Opens a model: reads and checks its headers, and no tensor data. */
import { lstat, readdir, stat } from 'node:fs/promises'
import path from 'node:path'
import { type Diagnostic, type Fault, fault } from '../core/diagnostics.js'
import { nearest, quote } from '../core/suggest.js'
import { type Bounds, boundsOf, CHECK_HINT, FileProblem, fileFault, openRegular } from '../storage/local/regular.js'
import { fileSource } from '../storage/local/source.js'
import type { ByteSource } from '../storage/types.js'
import { type Allowance, fullAllowance } from './containers/allowance.js'
import { openContainer } from './containers/index.js'
import type { ContainerHeader, ContainerTensor } from './containers/types.js'
import { type FolderWeights, folderWeights } from './folder.js'
import { checkIndex, staleCopies, twoModels } from './indexed.js'
import { type ModuleList, modulePrefix, modulesOf } from './modules.js'
import { isWeights } from './sidecarNames.js'
import { ADAPTER_CONFIG, findSidecars, readConfigFile } from './sidecars.js'
import type { Checkpoint, CheckpointFile, CheckpointModule, StoredTensor } from './types.js'

/** Weights of a folder that are not on the disk yet. Names are relative to the folder. */
export interface RemoteWeights {
  /** Directly in the folder. */
  readonly names: readonly string[]
  /** Directly in a folder inside it. */
  within(module: string): Promise<readonly string[]>
  /** Says which will be opened, so that their beginnings can come together. */
  announce(names: readonly string[]): void
  /** Nothing where the file is on the disk, or nowhere. */
  open(name: string): Promise<ByteSource | undefined>
}

export interface OpenOptions {
  readonly remote?: RemoteWeights | undefined
  /** A PEFT adapter is wanted: a folder may hold the whole model as well. */
  readonly adapter?: boolean | undefined
}

/**
 * Opens the safetensors file, PyTorch state dict or hub-style folder at `absolutePath`; `reference` is what the user wrote, for messages.
 * Faults: `missing-model`, `cannot-read`, `unsupported-format`, those of `folderWeights`, `parseHeader`, `readPytorchHeader` and `readConfigFile`,
 * `missing-module`, `ambiguous-checkpoint` where files without an index hold the same, and where an index and its files differ `missing-shard`, `missing-tensor`, `unlisted-tensor`.
 * Warning: `duplicate-tensor` for copies in other files than an index names.
 */
export async function openCheckpoint(
  reference: string,
  absolutePath: string,
  options: OpenOptions = {},
): Promise<Checkpoint> {
  const allowance = fullAllowance()
  const entry = await stat(absolutePath).catch((error: NodeJS.ErrnoException) =>
    unreadable(error, reference, absolutePath),
  )
  return entry.isDirectory()
    ? openFolder(reference, absolutePath, allowance, options)
    : openFile(reference, absolutePath, allowance)
}

async function openFile(reference: string, file: string, allowance: Allowance): Promise<Checkpoint> {
  const name = path.basename(file)
  const { read, header } = await readFileHeader(file, name, reference, allowance)
  const tensors = sorted(header.tensors.map((tensor) => storedIn(0, tensor.name, tensor)))
  const beside = header.tensors.some(({ name }) => /\blora_/.test(name))
    ? await adapterConfig(path.dirname(file), await readdir(path.dirname(file)), path.dirname(reference))
    : {}
  return {
    ...{ reference, layout: 'file', path: file, files: [read], tensors, metadata: header.metadata, sidecars: [] },
    ...beside,
  }
}

/** Reads `adapter_config.json`, where it is among a folder's entries and there. Faults: those of `readConfigFile`. */
async function adapterConfig(
  folder: string,
  names: readonly string[],
  shown: string,
): Promise<Pick<Checkpoint, 'adapter' | 'adapterFile'>> {
  if (!names.includes(ADAPTER_CONFIG)) return {}
  const file = path.join(folder, ADAPTER_CONFIG)
  const { config, bytes } = await readConfigFile(file, `${shown}/${ADAPTER_CONFIG}`, await boundsOf(folder))
  return { adapter: config, adapterFile: bytes }
}

/** What has been read of a folder's weights. */
interface Gathered {
  readonly files: CheckpointFile[]
  readonly tensors: Map<string, StoredTensor>
  metadata: Checkpoint['metadata']
  readonly warnings: Diagnostic[]
}

async function openFolder(
  reference: string,
  folder: string,
  allowance: Allowance,
  { remote, adapter = false }: OpenOptions,
): Promise<Checkpoint> {
  const shown = reference.replace(/[\\/]+$/, '') || reference
  const list = async (where: string): Promise<readonly string[]> =>
    readdir(where).catch((error: NodeJS.ErrnoException) => unreadable(error, reference, where))
  const names = [...new Set([...(await list(folder)), ...(remote?.names ?? [])])]
  const gathered: Gathered = { files: [], tensors: new Map(), metadata: {}, warnings: [] }
  const within = await boundsOf(folder).catch((error: NodeJS.ErrnoException) => unreadable(error, reference, folder))
  const found = await modulesOf(folder, names, shown, within)
  const modules: CheckpointModule[] = []
  const top = await findSidecars(folder, names, within, found !== undefined)
  const sidecars = [...top.sidecars]
  for (const module of found?.names ?? ['']) {
    const place = path.join(folder, module)
    const own = module === '' ? names : await moduleNames(place, module, found!, shown, remote)
    const configured = own.includes('config.json')
    if (module !== '') {
      const small = [...(configured ? ['config.json'] : []), ...(await findSidecars(place, own, within, true)).sidecars]
      sidecars.push(...small.map((name) => `${module}/${name}`))
    }
    if (found && !own.some(isWeights) && !(found.strict && configured)) continue
    const inside = module === '' ? shown : `${shown}/${module}`
    const stem = await openWeights(place, module, own, inside, {
      ...{ gathered, allowance, remote, adapter, within },
    })
    const read = configured
      ? await readConfigFile(path.join(place, 'config.json'), `${inside}/config.json`, within)
      : undefined
    modules.push({ name: module, stem, ...(read ? { config: read.config, configText: read.text } : {}) })
  }
  const { files, tensors, metadata, warnings } = gathered
  if (files.length === 0) throw fault('no-weights', `${shown}: none of its modules has weights`)
  const own = modules.find(({ name }) => name === '')
  return {
    reference,
    layout: 'folder',
    path: folder,
    files,
    tensors: sorted([...tensors.values()]),
    metadata,
    ...(own?.config ? { config: own.config, configText: own.configText! } : {}),
    ...(await adapterConfig(folder, names, shown)),
    ...(found ? { modules } : {}),
    sidecars: sidecars.sort(),
    ...(warnings.length > 0 ? { warnings } : {}),
    ...(top.leftOut.length > 0 ? { leftOut: top.leftOut } : {}),
  }
}

/** Entries of a module's folder. */
async function moduleNames(
  place: string,
  module: string,
  { strict }: ModuleList,
  shown: string,
  remote: RemoteWeights | undefined,
): Promise<readonly string[]> {
  const there = await readdir(place).catch((): string[] => [])
  const names = [...new Set([...there, ...((await remote?.within(module)) ?? [])])]
  if (names.length === 0 && strict)
    throw fault(
      'missing-module',
      `${shown}: the module ${module} is listed in model_index.json, but is not there`,
      'fetch the model again',
    )
  return names
}

/** Reads the headers of one folder's weights. Returns what their files are called. */
async function openWeights(
  folder: string,
  module: string,
  names: readonly string[],
  shown: string,
  {
    gathered,
    allowance,
    remote,
    adapter,
    within,
  }: {
    readonly gathered: Gathered
    readonly allowance: Allowance
    readonly remote: RemoteWeights | undefined
    readonly adapter: boolean
    readonly within: Bounds
  },
): Promise<string> {
  const prefix = modulePrefix(module)
  const inside = (name: string): string => (module === '' ? name : `${module}/${name}`)
  const weights = await folderWeights(folder, names, shown, allowance, adapter, within)
  const { files, tensors: all } = gathered
  const tensors = new Map<string, StoredTensor>()
  // Copies of tensors in other files than the index names: what an overlay replaces, for one.
  const stale = new Map<string, string>()
  remote?.announce(weights.files.map(inside))
  for (const name of weights.files) {
    const file = path.join(folder, ...name.split('/'))
    const source = await remote?.open(inside(name))
    if (weights.index && !source)
      await lstat(file).catch((error: NodeJS.ErrnoException) => missingShard(error, name, weights, shown))
    const { read, header } = await readFileHeader(file, inside(name), `${shown}/${name}`, allowance, {
      remote: source,
      within,
    })
    if (files.length === 0) gathered.metadata = header.metadata
    for (const tensor of header.tensors) {
      const listed = weights.index?.map.get(tensor.name)
      if (listed !== undefined && listed !== name) {
        stale.set(tensor.name, name)
        continue
      }
      const other = tensors.get(tensor.name) ?? all.get(`${prefix}${tensor.name}`)
      if (other) throw inTwoFiles(tensor.name, files[other.file]!.name, inside(name), shown)
      const stored = storedIn(files.length, `${prefix}${tensor.name}`, tensor)
      tensors.set(tensor.name, stored)
      all.set(stored.name, stored)
    }
    files.push(read)
  }
  checkIndex(weights, tensors, stale, files, inside, shown)
  if (stale.size > 0) gathered.warnings.push(staleCopies(stale, weights, shown))
  if (weights.passedOver !== undefined) gathered.warnings.push(twoModels(weights.passedOver, weights.files[0]!, shown))
  return weights.files.some((name) => name.startsWith('diffusion_pytorch_model')) ? 'diffusion_pytorch_model' : 'model'
}

/** Files without an index may be different models that only lie in one folder. */
const inTwoFiles = (name: string, first: string, second: string, shown: string): Fault =>
  fault(
    'ambiguous-checkpoint',
    `${shown}: tensor ${quote(name)} is in two files, ${first} and ${second}, and no index says which of them is meant`,
    'name one of the files',
  )

interface FileHeader {
  readonly read: CheckpointFile
  readonly header: ContainerHeader
}

/** Reads the header of one file: of `remote`, where it is not on the disk. */
async function readFileHeader(
  file: string,
  name: string,
  shown: string,
  allowance: Allowance,
  { remote, within }: { readonly remote?: ByteSource | undefined; readonly within?: Bounds } = {},
): Promise<FileHeader> {
  const readOf = async (source: ByteSource): Promise<FileHeader> => {
    const header = await openContainer(source, allowance, path.basename(file))
    const { headerBytes, headerDigest } = header
    return { read: { name, path: file, size: source.size, headerBytes, headerDigest }, header }
  }
  if (remote) return readOf(remote)
  const { handle, size } = await openRegular(file, within).catch((error: unknown) => {
    if (!(error instanceof FileProblem)) throw error
    if (error.kind === 'missing') return unreadable(error, shown, file)
    throw fileFault(error, shown)
  })
  try {
    return await readOf(fileSource(handle, size, shown))
  } finally {
    await handle.close()
  }
}

async function unreadable(
  error: { readonly code?: string | undefined; readonly message: string },
  reference: string,
  file: string,
): Promise<never> {
  if (error.code !== 'ENOENT' && error.code !== 'ENOTDIR')
    throw fault('cannot-read', `${reference}: cannot be read: ${error.code ?? error.message}`, CHECK_HINT)
  const siblings = await readdir(path.dirname(file)).catch(() => [])
  const [meant] = nearest(path.basename(file), siblings, 1)
  throw fault(
    'missing-model',
    `${reference}: there is no such file or folder`,
    meant === undefined ? `looked for ${file}` : `did you mean ${quote(path.join(path.dirname(reference), meant))}?`,
  )
}

function missingShard(error: NodeJS.ErrnoException, name: string, { index }: FolderWeights, shown: string): never {
  if (error.code !== 'ENOENT')
    throw fault('cannot-read', `${shown}/${name}: cannot be read: ${error.code ?? error.message}`, CHECK_HINT)
  throw fault(
    'missing-shard',
    `${shown}: ${name} is named in ${index!.name}, but is not there`,
    'fetch the missing file',
  )
}

/** Written out, since objects that are spread take more memory: a model may have a million tensors. */
function storedIn(file: number, name: string, tensor: ContainerTensor): StoredTensor {
  const { dtype, shape, offset, bytes, strides } = tensor
  return strides ? { name, dtype, shape, file, offset, bytes, strides } : { name, dtype, shape, file, offset, bytes }
}

/** By name, in the order of code units. */
function sorted(tensors: readonly StoredTensor[]): ReadonlyMap<string, StoredTensor> {
  const byName = new Map<string, StoredTensor>()
  for (const tensor of [...tensors].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0)))
    byName.set(tensor.name, tensor)
  return byName
}
