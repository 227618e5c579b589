/** Opens a model: reads and checks its headers, but no tensor data. */
import { readdir, stat } from 'node:fs/promises'
import path from 'node:path'
import { mapEach } from '../core/collections/eachOf.js'
import { MappedMap } from '../core/collections/mapped.js'
import { type Diagnostic, Fault, fault } from '../core/diagnostics.js'
import { addressIn, meantPath, slashHint } from '../core/names/fileNames.js'
import { nearest, quote } from '../core/suggest.js'
import { type Bounds, boundsOf, CHECK_HINT, FileProblem, fileFault } from '../storage/local/regular.js'
import { localStore, openNamed } from '../storage/local/store.js'
import type { OpenFile, Store } from '../storage/types.js'
import type { View } from '../views/types.js'
import { type Allowance, fullAllowance } from './containers/allowance.js'
import { alphasIn, normsIn } from './containers/alphas.js'
import { folderContainer, hasWholeWeights, isIndex, openContainer } from './containers/index.js'
import type { ContainerHeader, ContainerTensor } from './containers/types.js'
import { type FolderWeights, folderWeights } from './folder.js'
import { holdSmallFiles } from './heldFiles.js'
import { misfit, staleCopies, twoForms, twoModels } from './indexed.js'
import { type ModuleList, modulePrefix, modulesOf } from './modules.js'
import { openParted } from './parted/open.js'
import { withQuantized } from './quantized.js'
import { isWeights } from './sidecarNames.js'
import { ADAPTER_CONFIG, findSidecars, readConfigFile } from './sidecars.js'
import type { Checkpoint, CheckpointFile, CheckpointModule, LogicalTensor, StoredTensor } from './types.js'

export interface OpenOptions {
  /** The path is that of a single file of the store. */
  readonly single?: boolean | undefined
  /** The source of the folder's files, if they are not all local. */
  readonly store?: Store | undefined
  /** Open the PEFT adapter in a folder, even if it also holds a whole model. */
  readonly adapter?: boolean | undefined
}

/**
 * Opens the safetensors file, PyTorch state dict or hub-style folder at `absolutePath`. `reference` is the path in messages, as the user wrote it.
 * Errors: `missing-model`, `cannot-read`, `unsupported-format`, those of `folderWeights`, `parseHeader`, `readPytorchHeader` and `readConfigFile`,
 * `missing-module`, `ambiguous-checkpoint` if files without an index have a tensor in common, and `missing-shard`, `missing-tensor`,
 * `unlisted-tensor` if an index and its files disagree.
 * Warning: `duplicate-tensor` for copies that an index does not list.
 */
export async function openCheckpoint(
  reference: string,
  absolutePath: string,
  options: OpenOptions = {},
): Promise<Checkpoint> {
  const allowance = fullAllowance()
  if (options.store && options.single) return openFile(reference, absolutePath, allowance, options.store)
  const entry = await stat(absolutePath).catch((error: NodeJS.ErrnoException) =>
    unreadable(error, reference, absolutePath),
  )
  return entry.isDirectory()
    ? openFolder(reference, absolutePath, allowance, options)
    : openFile(reference, absolutePath, allowance)
}

/** Names of tensors in adapters of PEFT, whose configuration is beside the file. */
const OF_ADAPTERS = /(^|\.)(lora_|hada_|lokr_|ia3_l|hra_u|vera_|oft_|boft_|trainable_tokens_)/

async function openFile(reference: string, file: string, allowance: Allowance, remote?: Store): Promise<Checkpoint> {
  const name = path.basename(file)
  const source = await (remote ? remote.open(name, reference) : openNamed(file, reference)).catch((error: unknown) =>
    unopened(error, reference, file),
  )
  const { read, header, alphas, norms } = await readFileHeader(source, file, name, allowance)
  const stored = sorted(new Map(header.tensors.map((tensor) => [tensor.name, storedIn(0, tensor.name, tensor)])))
  const beside = header.tensors.some(({ name }) => OF_ADAPTERS.test(name))
    ? await adapterConfig(
        path.dirname(file),
        await (remote ? holdSmallFiles(remote, '') : readdir(path.dirname(file))),
        path.dirname(reference),
      )
    : {}
  return {
    ...{ reference, layout: 'file', path: file, files: [read], stored, tensors: logical(stored) },
    ...{ metadata: header.metadata, sidecars: [] },
    ...beside,
    ...(alphas.size > 0 ? { alphas } : {}),
    ...(norms.size > 0 ? { norms } : {}),
  }
}

/** Reads `adapter_config.json` if it is among a folder's entries. Errors: those of `readConfigFile`. */
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

/** What has been read so far from a folder's weights. */
interface Gathered {
  readonly files: CheckpointFile[]
  readonly tensors: Map<string, StoredTensor>
  readonly alphas: Map<string, number>
  readonly norms: Map<string, string>
  metadata: Checkpoint['metadata']
  readonly warnings: Diagnostic[]
}

async function openFolder(
  reference: string,
  folder: string,
  allowance: Allowance,
  { store = localStore(folder), adapter = false }: OpenOptions,
): Promise<Checkpoint> {
  const shown = reference.replace(/[\\/]+$/, '') || reference
  const names = await holdSmallFiles(store, '').catch((error: NodeJS.ErrnoException | Fault) => {
    if (error instanceof Fault) throw error
    return unreadable(error, reference, folder)
  })
  const maps = { tensors: new Map(), alphas: new Map(), norms: new Map() }
  const gathered: Gathered = { files: [], ...maps, metadata: {}, warnings: [] }
  const within = await boundsOf(folder).catch((error: NodeJS.ErrnoException) => unreadable(error, reference, folder))
  const found = await modulesOf(folder, names, shown, within)
  const parted = found || adapter ? undefined : folderContainer(names)
  if (parted && hasWholeWeights(names)) gathered.warnings.push(twoForms(parted.described, shown))
  else if (parted) return openParted(parted, { reference, folder, names, shown, store, allowance, within })
  const inner = await namesOfModules(store, found, shown)
  const modules: CheckpointModule[] = []
  const top = await findSidecars(folder, names, within, found !== undefined)
  const sidecars = [...top.sidecars]
  for (const module of found?.names ?? ['']) {
    const place = path.join(folder, module)
    const own = inner.get(module) ?? names
    const configured = own.includes('config.json')
    if (module !== '') {
      const small = [...(configured ? ['config.json'] : []), ...(await findSidecars(place, own, within, true)).sidecars]
      sidecars.push(...small.map((name) => `${module}/${name}`))
    }
    if (found && !own.some(isWeights) && !(found.strict && configured)) continue
    const inside = module === '' ? shown : `${shown}/${module}`
    const stem = await openWeights(place, module, own, inside, {
      ...{ gathered, allowance, store, adapter, within },
    })
    const read = configured
      ? await readConfigFile(path.join(place, 'config.json'), `${inside}/config.json`, within)
      : undefined
    modules.push({ name: module, stem, ...(read ? { config: read.config, configText: read.text } : {}) })
  }
  const { files, tensors, metadata, warnings } = gathered
  if (files.length === 0)
    throw fault(
      'no-weights',
      `${shown}: none of its modules has weights`,
      'download the model again, with the weights of its modules',
    )
  const own = modules.find(({ name }) => name === '')
  const stored = sorted(tensors)
  const checkpoint: Checkpoint = {
    reference,
    layout: 'folder',
    path: folder,
    files,
    stored,
    tensors: logical(stored),
    metadata,
    ...(own?.config ? { config: own.config, configText: own.configText! } : {}),
    ...(await adapterConfig(folder, names, shown)),
    ...(found ? { modules } : {}),
    sidecars: sidecars.sort(),
    ...(warnings.length > 0 ? { warnings } : {}),
    ...(top.leftOut.length > 0 ? { leftOut: top.leftOut } : {}),
    ...(gathered.alphas.size > 0 ? { alphas: gathered.alphas } : {}),
    ...(gathered.norms.size > 0 ? { norms: gathered.norms } : {}),
  }
  return withQuantized(checkpoint, (file) => store.open(files[file]!.name, `${shown}/${files[file]!.name}`))
}

/** Modules whose files are listed and downloaded in parallel. */
const PARALLEL = 8

/** File names by module of a pipeline. */
async function namesOfModules(
  store: Store,
  found: ModuleList | undefined,
  shown: string,
): Promise<ReadonlyMap<string, readonly string[]>> {
  const modules = (found?.names ?? []).filter((module) => module !== '')
  const names = await mapEach(modules, PARALLEL, (module) =>
    holdSmallFiles(store, module).catch((error: unknown): string[] => {
      if (error instanceof Fault) throw error
      return []
    }),
  )
  const missing = modules.find((_, index) => names[index]!.length === 0)
  if (missing !== undefined && found!.strict)
    throw fault(
      'missing-module',
      `${shown}: model_index.json lists the module ${missing}, which does not exist`,
      'download the model again',
    )
  return new Map(modules.map((module, index) => [module, names[index]!]))
}

/** Reads the headers of one folder's weights. Returns the stem of their file names. */
async function openWeights(
  folder: string,
  module: string,
  names: readonly string[],
  shown: string,
  {
    gathered,
    allowance,
    store,
    adapter,
    within,
  }: {
    readonly gathered: Gathered
    readonly allowance: Allowance
    readonly store: Store
    readonly adapter: boolean
    readonly within: Bounds
  },
): Promise<string> {
  const prefix = modulePrefix(module)
  const inside = (name: string): string => (module === '' ? name : `${module}/${name}`)
  const weights = await folderWeights(folder, names, shown, allowance, adapter, within)
  const { files, tensors: all } = gathered
  // How many of them the index lists in their file, and those that it does not list.
  let listed = 0
  const unlisted: StoredTensor[] = []
  // Copies of tensors that the index does not list, such as those that an overlay replaces.
  const stale = new Map<string, string>()
  store.expect(weights.files.map(inside))
  for (const name of weights.files) {
    const file = path.join(folder, ...name.split('/'))
    const source = await store.open(inside(name), `${shown}/${name}`).catch((error: unknown) => {
      if (weights.index && error instanceof FileProblem && error.kind === 'missing')
        throw missingShard(error, name, weights, shown)
      return unopened(error, `${shown}/${name}`, file)
    })
    const { read, header, alphas, norms } = await readFileHeader(source, file, inside(name), allowance)
    for (const [own, value] of alphas) gathered.alphas.set(`${prefix}${own}`, value)
    for (const [own, digest] of norms) gathered.norms.set(`${prefix}${own}`, digest)
    if (files.length === 0) gathered.metadata = header.metadata
    for (const tensor of header.tensors) {
      const place = weights.index?.map.get(tensor.name)
      if (place !== undefined && place !== name) {
        stale.set(tensor.name, name)
        continue
      }
      const whole = prefix === '' ? tensor.name : `${prefix}${tensor.name}`
      const other = all.get(whole)
      if (other) throw inTwoFiles(tensor.name, files[other.file]!.name, inside(name), shown)
      const stored = storedIn(files.length, whole, tensor)
      all.set(whole, stored)
      if (place !== undefined) listed++
      else if (weights.index) unlisted.push(stored)
    }
    files.push(read)
  }
  if (weights.index && (listed < weights.index.map.size || unlisted.length > 0))
    throw misfit(weights.index, { tensors: all, unlisted, prefix, stale, files, inside, shown })
  if (stale.size > 0) gathered.warnings.push(staleCopies(stale, weights, shown))
  if (weights.passedOver !== undefined) gathered.warnings.push(twoModels(weights.passedOver, weights.files[0]!, shown))
  return weights.files.some((name) => name.startsWith('diffusion_pytorch_model')) ? 'diffusion_pytorch_model' : 'model'
}

/** Files without an index can be different models in one folder. */
const inTwoFiles = (name: string, first: string, second: string, shown: string): Fault =>
  fault(
    'ambiguous-checkpoint',
    `${shown}: tensor ${quote(name)} is in two files, ${first} and ${second}, and no index says which one to use`,
    'name one of the files',
  )

interface FileHeader {
  readonly read: CheckpointFile
  readonly header: ContainerHeader
  readonly alphas: ReadonlyMap<string, number>
  readonly norms: ReadonlyMap<string, string>
}

/** Reads the header of an open file and closes it. `file` is its path, `name` its name in lineages. */
async function readFileHeader(source: OpenFile, file: string, name: string, allowance: Allowance): Promise<FileHeader> {
  try {
    const header = await openContainer(source, allowance, path.basename(file))
    const { headerBytes, headerDigest } = header
    const alphas = await alphasIn(source, header.tensors)
    const norms = await normsIn(source, header.tensors)
    return { read: { name, path: file, size: source.size, headerBytes, headerDigest }, header, alphas, norms }
  } finally {
    await source.close()
  }
}

async function unopened(error: unknown, shown: string, file: string): Promise<never> {
  if (!(error instanceof FileProblem)) throw error
  if (error.kind === 'missing') return unreadable(error, shown, file)
  throw fileFault(error, shown)
}

/** What can be the name of a repository on the hub. */
const REPOSITORY = /^[\da-z][\w.-]*\/[\w.-]+(?:@[\w./-]+)?$/i

async function unreadable(
  error: { readonly code?: string | undefined; readonly message: string },
  reference: string,
  file: string,
): Promise<never> {
  if (error.code !== 'ENOENT' && error.code !== 'ENOTDIR')
    throw fault('cannot-read', `${reference}: cannot be read: ${error.code ?? error.message}`, CHECK_HINT)
  const siblings = await readdir(path.dirname(file)).catch(() => undefined)
  const address = addressIn(reference)
  if (address === 'hf:' || address === 's3://')
    throw fault(
      'missing-model',
      `${reference}: this is a single file, which terge does not read from ${address}`,
      'download the file and write its path',
    )
  if (address !== undefined)
    throw fault(
      'missing-model',
      `${reference}: terge can't read from ${address}`,
      'download the model and write its path; terge reads hf:org/name and s3://bucket/prefix itself',
    )
  const [near] = nearest(path.basename(file), siblings ?? [], 1)
  const slashed = meantPath(reference)
  const looked =
    siblings === undefined && REPOSITORY.test(reference) && !isWeights(reference) && !isIndex(reference)
      ? `for a model on the hub, write hf:${reference}; looked for ${file}`
      : `looked for ${file}`
  const hint = near === undefined ? looked : `did you mean ${quote(path.join(path.dirname(reference), near))}?`
  throw fault(
    'missing-model',
    `${reference}: there is no such file or folder`,
    slashed === undefined ? hint : slashHint(slashed),
  )
}

function missingShard({ code }: FileProblem, name: string, { index }: FolderWeights, shown: string): Fault {
  if (code !== 'ENOENT') return fault('cannot-read', `${shown}/${name}: cannot be read: ${code}`, CHECK_HINT)
  return fault(
    'missing-shard',
    `${shown}: ${index!.name} lists ${name}, which does not exist`,
    'download the missing file',
  )
}

/** Lists the properties, because spread objects take more memory and a model may have a million tensors. */
function storedIn(file: number, name: string, tensor: ContainerTensor): StoredTensor {
  const { dtype, shape, offset, bytes, strides } = tensor
  return strides ? { name, dtype, shape, file, offset, bytes, strides } : { name, dtype, shape, file, offset, bytes }
}

/** Logical tensors are the stored ones as they are: no container stores one in another form. They are made when asked for, since planning needs each once. */
const logical = (stored: Checkpoint['stored']): Checkpoint['tensors'] => new MappedMap(stored, wholeTensor)

function wholeTensor({ name, dtype, shape, file, offset, bytes, strides }: StoredTensor): LogicalTensor {
  const view: View = strides
    ? { kind: 'stored', file, tensor: name, dtype, shape, offset, bytes, strides }
    : { kind: 'stored', file, tensor: name, dtype, shape, offset, bytes }
  return { name, dtype, shape, view }
}

/** By name, sorted by code units. */
function sorted(tensors: ReadonlyMap<string, StoredTensor>): ReadonlyMap<string, StoredTensor> {
  let last: string | undefined
  let isSorted = true
  for (const name of tensors.keys()) {
    isSorted &&= last === undefined || last < name
    last = name
  }
  if (isSorted) return tensors
  const names = [...tensors.keys()].sort()
  return new Map(names.map((name) => [name, tensors.get(name)!]))
}
