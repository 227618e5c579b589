import { availableParallelism } from 'node:os'
import path from 'node:path'
import { isOutputFile } from '../checkpoints/containers/index.js'
import { modulePrefix } from '../checkpoints/modules.js'
import { openCheckpoint } from '../checkpoints/open.js'
import { ADAPTER_CONFIG } from '../checkpoints/sidecars.js'
import type { Checkpoint } from '../checkpoints/types.js'
import { type Diagnostic, Fault } from '../core/diagnostics.js'
import { agree, plural } from '../core/words.js'
import { byteProgress } from '../execute/byteProgress.js'
import type { Listener } from '../execute/events.js'
import { openSums, type Sums } from '../execute/hashing/sums.js'
import { FileProblem } from '../storage/local/regular.js'
import { compareInput, compareOutput, listOf, type Report } from './compare.js'
import { bytesToDigest, type CheckpointDigests, digestCheckpoints, type StoredCheckpoint } from './digestCheckpoint.js'
import { exists, fileSize, inside, xxh3OfFile } from './disk.js'
import type { Digest, Lineage, LineageFile, LineageModel } from './types.js'

export interface CheckOptions {
  readonly listen?: Listener
  readonly threads?: number
  readonly signal?: AbortSignal
  /** What else has hashed files. Default: nothing. */
  readonly sums?: Sums
}

export interface Checked {
  readonly problems: Diagnostic[]
  readonly files: number
  readonly bytes: number
}

/** What of a lineage is compared. */
type CheckedLineage = Pick<Lineage, 'models' | 'output' | 'tensors'>

/** A checkpoint whose header was read, and the function that compares its digests. */
interface Pending {
  readonly checkpoint: StoredCheckpoint
  readonly compare: (found: CheckpointDigests) => void
}

const CHANGED_OUTPUT = 'the output was changed after the merge: run the recipe again'
const CHANGED_INPUT = "the input was changed or moved: restore it, or give the recipe's folder with --recipe-folder"

const isCheckpoint = (file: LineageFile): boolean => isOutputFile(file.name)

/** A file of the lineage with a SHA-256, and the function that reports a difference. */
interface Summed {
  readonly place: string
  readonly compare: (found: Digest) => void
  readonly failed: (problem: FileProblem) => void
}

/** The state of one check of a lineage. */
interface Check {
  readonly lineage: CheckedLineage
  /** The folder of the output. */
  readonly folder: string
  /** A model's absolute path; undefined if the model is not on this machine. */
  readonly placeOf: (model: LineageModel) => string | undefined
  readonly signal: AbortSignal | undefined
  readonly sums: Sums
  /** Files whose SHA-256 is to be compared. */
  readonly summed: Summed[]
  /** One list per checked file or model, so that differences are shown in this order. */
  readonly problems: Diagnostic[][]
  readonly pending: Pending[]
  /** Number of files that exist, and their total size. */
  files: number
  bytes: number
}

/**
 * Compares a lineage with its output, in `folder`, and its inputs. `placeOf` returns a model's absolute path, or
 * undefined if the model is not on this machine. Checks sizes and headers first, then reads all tensors once.
 */
export async function checkFiles(
  lineage: CheckedLineage,
  folder: string,
  placeOf: Check['placeOf'],
  options: CheckOptions,
): Promise<Checked> {
  const { signal, threads = availableParallelism() } = options
  const sums = options.sums ?? openSums({ threads, signal })
  const check: Check = {
    ...{ lineage, folder, placeOf, signal, sums },
    ...{ problems: [], pending: [], summed: [], files: 0, bytes: 0 },
  }
  try {
    await checkOutputs(check)
    for (const [name, model] of Object.entries(lineage.models).sort(([, a], [, b]) => a.index - b.index))
      await checkInput(check, name, model)
    await compareTensors(check.pending, options)
    await compareSums(check, options)
  } finally {
    if (!options.sums) await sums.close()
  }
  return { problems: check.problems.flat(), files: check.files, bytes: check.bytes }
}

/** Reports about one file or model. */
interface Reporter {
  readonly report: Report
  /** Whether there is a report that begins with this. */
  readonly has: (shown: string) => boolean
}

function reporter({ problems }: Check, hint: string): Reporter {
  const list: Diagnostic[] = []
  problems.push(list)
  return {
    report: (code, message, severity = 'error', way = hint) => list.push({ severity, code, message, hint: way }),
    has: (shown) => list.some(({ message }) => message.startsWith(`${shown} `) || message.startsWith(`${shown}:`)),
  }
}

/** Notes a file whose SHA-256 is compared at the end. A file that differs already is not reported again. */
function noteSum(
  { summed }: Check,
  kind: Kind,
  shown: string,
  place: string,
  { sha256 }: LineageFile,
  { report, has }: Reporter,
): void {
  if (sha256 === undefined) return
  const compare = (found: Digest): void => {
    if (found !== sha256 && !has(shown))
      report(`${kind}-digest`, `${shown}: SHA-256 is ${digits(found)}, but ${digits(sha256)} in the lineage`)
  }
  const failed = ({ message }: FileProblem): void => {
    if (!has(shown)) report(`${kind}-missing`, `${shown} ${message}`)
  }
  summed.push({ place, compare, failed })
}

const digits = (sum: Digest): string => sum.replace(/^sha256:/, '')

type Kind = 'output' | 'input'

/** Whether a file exists and has this size. Reports an error if not. */
async function sized(
  check: Check,
  kind: Kind,
  shown: string,
  file: string,
  size: number,
  report: Report,
): Promise<boolean> {
  check.signal?.throwIfAborted()
  const found = await fileSize(file)
  if ('problem' in found) report(`${kind}-missing`, `${shown} ${found.problem}`)
  else {
    check.files++
    check.bytes += found.size
    if (found.size === size) return true
    report(`${kind}-size`, `${shown} has ${found.size} bytes, but ${size} in the lineage`)
  }
  return false
}

/** Reads the headers; reports an error and returns undefined if they are invalid. */
async function opened(
  kind: Kind,
  shown: string,
  file: string,
  report: Report,
  adapter = false,
): Promise<Checkpoint | undefined> {
  try {
    return await openCheckpoint(shown, file, { adapter })
  } catch (error) {
    if (!(error instanceof Fault)) throw error
    for (const { message } of error.diagnostics) report(`${kind}-header`, message)
    return undefined
  }
}

const onlySize = (shown: string, report: Report): void =>
  report('no-digest', `${shown}: only its size was checked`, 'warning', 'the run used --no-digests')

/** Checks the output's files, and that they have all tensors of the lineage. */
async function checkOutputs(check: Check): Promise<void> {
  const { output, tensors } = check.lineage
  // The checkpoint was only evaluated; its files were removed.
  if (output.dropped) return
  const seen = new Set<string>()
  let complete = true
  for (const file of output.files) complete = (await checkOutput(check, file, seen)) && complete
  if (output.permutations) await checkPermutations(check, output.permutations)
  const lost = complete ? Object.keys(tensors).filter((name) => !seen.has(name)) : []
  if (lost.length > 0) {
    const { report } = reporter(check, CHANGED_OUTPUT)
    const are = agree(lost.length, 'is', 'are')
    report(
      'output-digest',
      `${plural(lost.length, 'tensor')} of the lineage ${are} missing from the files: ${listOf(lost)}`,
    )
  }
}

/** Checks the file of permutations: in the folder of a single file, next to the folder of others. */
async function checkPermutations(
  check: Check,
  { name, size, sha256: wanted }: NonNullable<Lineage['output']['permutations']>,
): Promise<void> {
  const { report } = reporter(check, CHANGED_OUTPUT)
  const folders = [check.folder, path.dirname(check.folder)]
  const places = folders.map((folder) => inside(folder, name)).filter((file) => file !== undefined)
  const [first] = places
  const found = await Promise.all(places.map(exists))
  const file = places[found.indexOf(true)] ?? first
  if (file === undefined) report('output-missing', `${name} is not next to the output`)
  else if (await sized(check, 'output', name, file, size, report))
    if ((await digestOfFile(check, file, wanted)) !== wanted)
      report('output-digest', `${name} differs from the lineage`)
}

/** Checks one file of the output. Returns false if its tensors cannot be known. */
async function checkOutput(check: Check, expected: LineageFile, seen: Set<string>): Promise<boolean> {
  const reports = reporter(check, CHANGED_OUTPUT)
  const { report } = reports
  const { name, digest } = expected
  const file = inside(check.folder, name)
  if (file === undefined) report('output-missing', `${name} is not inside the output folder`)
  if (file === undefined || !(await sized(check, 'output', name, file, expected.size, report)))
    return !isCheckpoint(expected)
  if (digest === null && expected.sha256 === undefined) {
    onlySize(name, report)
    return !isCheckpoint(expected)
  }
  noteSum(check, 'output', name, file, expected, reports)
  if (digest === null || !isCheckpoint(expected)) {
    const wanted = digest ?? expected.sha256!
    if ((await digestOfFile(check, file, wanted)) !== wanted)
      report('output-digest', `${name} differs from the lineage`)
    return !isCheckpoint(expected)
  }
  const checkpoint = inModule(await opened('output', name, file, report), name)
  if (!checkpoint) return false
  for (const tensor of checkpoint.stored.keys()) seen.add(tensor)
  const { files, stored } = checkpoint
  const compare = (found: CheckpointDigests) => compareOutput(check.lineage, expected, found, report)
  check.pending.push({ checkpoint: { files, stored }, compare })
  return true
}

const isBeside = ({ name }: LineageFile): boolean => name === ADAPTER_CONFIG

async function checkInput(check: Check, name: string, model: LineageModel): Promise<void> {
  const reports = reporter(check, CHANGED_INPUT)
  const { report } = reports
  const place = check.placeOf(model)
  const shown = `${name} (${model.reference})`
  if (place === undefined) {
    const hint = 'the model is not in the cache: run terge lock with the recipe to download it'
    report('input-unchecked', `${shown} was not checked`, 'warning', hint)
    return
  }
  await checkSmallInputs(check, model, place, shown, reports)
  if (!(await sameInputFiles(check, model, place, shown, reports)) || model.files.length === 0) return
  if (model.files.every((file) => file.digest === null)) return onlySize(shown, report)
  // A folder can contain a model and an adapter.
  const adapter = model.files.some(({ name }) => name.startsWith('adapter_model.'))
  const checkpoint = await opened('input', shown, place, report, adapter)
  if (!checkpoint) return
  const weights = model.files.filter((file) => !isBeside(file))
  const { files, stored, layout } = checkpoint
  const compare = (found: CheckpointDigests) => compareInput(shown, weights, { files, layout }, found, report)
  check.pending.push({ checkpoint: { files, stored }, compare })
}

/** Whether all files of a model have the right size. Also compares the bytes of files without tensors. */
async function sameInputFiles(
  check: Check,
  model: LineageModel,
  place: string,
  shown: string,
  reports: Reporter,
): Promise<boolean> {
  const { report } = reports
  const isFile = 'size' in (await fileSize(place))
  let same = true
  for (const file of model.files) {
    const { digest } = file
    const single = isFile && !isBeside(file)
    const target = single ? place : inside(isFile ? path.dirname(place) : place, file.name)
    const name = single ? shown : `${shown}: ${file.name}`
    if (target === undefined) report('input-missing', `${name} is not inside the model folder`)
    same = target !== undefined && (await sized(check, 'input', name, target, file.size, report)) && same
    if (same) noteSum(check, 'input', name, target!, file, reports)
    if (!same || !isBeside(file) || digest === null) continue
    if ((await digestOfFile(check, target!, digest)) !== digest)
      report('input-digest', `${name} differs from the recorded file`)
  }
  return same
}

/** Compares the small files of an input. */
async function checkSmallInputs(
  check: Check,
  { beside = [] }: LineageModel,
  place: string,
  shown: string,
  reports: Reporter,
): Promise<void> {
  const { report } = reports
  if (beside.length === 0) return
  const folder = 'size' in (await fileSize(place)) ? path.dirname(place) : place
  for (const file of beside) {
    const { name, size, digest } = file
    const target = inside(folder, name)
    const of = `${shown}: ${name}`
    if (target === undefined) report('input-missing', `${of} is not inside the model folder`)
    if (target === undefined || !(await sized(check, 'input', of, target, size, report))) continue
    if (digest !== null && (await digestOfFile(check, target, digest)) !== digest)
      report('input-digest', `${of} differs from the file that the run read`)
    noteSum(check, 'input', of, target, file, reports)
  }
}

/** Compares the SHA-256 of whole files. */
async function compareSums({ summed, sums }: Check, { listen }: CheckOptions): Promise<void> {
  await sums.settle([...new Set(summed.map(({ place }) => place))], listen)
  for (const { place, compare, failed } of summed)
    try {
      compare(await sums.of(place))
    } catch (error) {
      if (!(error instanceof FileProblem)) throw error
      failed(error)
    }
}

/** Reads all tensors of all files once, and compares their digests. */
async function compareTensors(pending: readonly Pending[], { threads, signal, listen }: CheckOptions): Promise<void> {
  const checkpoints = pending.map(({ checkpoint }) => checkpoint)
  const progress = byteProgress(listen, 'verify', bytesToDigest(checkpoints))
  const found = await digestCheckpoints(checkpoints, {
    ...(threads === undefined ? {} : { threads }),
    ...(signal === undefined ? {} : { signal }),
    progress: (read, tensor) => progress.add(read, `reading ${tensor}`),
  })
  progress.end('read all tensors')
  for (const [index, { compare }] of pending.entries()) compare(found[index]!)
}

/** Adds the module's prefix to the tensor names of a module's file. */
function inModule(checkpoint: Checkpoint | undefined, file: string): Checkpoint | undefined {
  const module = path.posix.dirname(file)
  if (!checkpoint || module === '.') return checkpoint
  const tensors = [...checkpoint.stored.values()].map((tensor) => {
    const name = `${modulePrefix(module)}${tensor.name}`
    return [name, { ...tensor, name }] as const
  })
  return { ...checkpoint, stored: new Map(tensors) }
}

/** The digest of a file, with the algorithm of the expected digest. */
const digestOfFile = ({ sums, signal }: Check, file: string, expected: Digest): Promise<Digest> =>
  expected.startsWith('sha256:') ? sums.of(file) : xxh3OfFile(file, signal)
