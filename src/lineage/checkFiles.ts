import path from 'node:path'
import { isOutputFile } from '../checkpoints/containers/index.js'
import { modulePrefix } from '../checkpoints/modules.js'
import { openCheckpoint } from '../checkpoints/open.js'
import { ADAPTER_CONFIG } from '../checkpoints/sidecars.js'
import type { Checkpoint } from '../checkpoints/types.js'
import { type Diagnostic, Fault } from '../core/diagnostics.js'
import { agree, plural } from '../core/words.js'
import type { Listener } from '../execute/events.js'
import { compareInput, compareOutput, listOf, type Report } from './compare.js'
import { type CheckpointDigests, digestCheckpoints } from './digestCheckpoint.js'
import { fileSize, inside, sha256, xxh3OfFile } from './disk.js'
import type { Digest, Lineage, LineageFile, LineageModel } from './types.js'

export interface CheckOptions {
  readonly listen?: Listener
  readonly threads?: number
  readonly signal?: AbortSignal
}

export interface Checked {
  readonly problems: Diagnostic[]
  readonly files: number
  readonly bytes: number
}

/** A checkpoint whose header was read, and what is to be done with its digests. */
interface Pending {
  readonly checkpoint: Checkpoint
  readonly compare: (found: CheckpointDigests) => void
}

const CHANGED_OUTPUT = 'the output was changed after the merge: run the recipe again'
const CHANGED_INPUT = 'the input was changed or moved: fetch it again, or name the folder of the recipe'

const isCheckpoint = (file: LineageFile): boolean => isOutputFile(file.name)

/**
 * Holds a lineage's output, in `folder`, and its inputs against the disk. `placeOf` gives a model's absolute path, or
 * undefined where it is none on this machine. Sizes and headers first, then all tensors in one reading.
 */
export async function checkFiles(
  lineage: Lineage,
  folder: string,
  placeOf: (model: LineageModel) => string | undefined,
  options: CheckOptions,
): Promise<Checked> {
  const problems: Diagnostic[][] = []
  const pending: Pending[] = []
  const checked = { files: 0, bytes: 0 }

  /** Problems are listed in the order of what is checked, whenever they are found. */
  const reporter = (hint: string): Report => {
    const list: Diagnostic[] = []
    problems.push(list)
    return (code, message, severity = 'error', way = hint) => list.push({ severity, code, message, hint: way })
  }

  /** Is there a file of this size? */
  async function sized(
    kind: 'output' | 'input',
    shown: string,
    file: string,
    size: number,
    report: Report,
  ): Promise<boolean> {
    options.signal?.throwIfAborted()
    const found = await fileSize(file)
    if ('problem' in found) report(`${kind}-missing`, `${shown} ${found.problem}`)
    else {
      checked.files++
      checked.bytes += found.size
      if (found.size === size) return true
      report(`${kind}-size`, `${shown} has ${found.size} bytes, and the lineage says ${size}`)
    }
    return false
  }

  /** Reads the headers; a problem where they are bad. */
  async function opened(
    kind: 'output' | 'input',
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

  /** False where the file's tensors will not be known. */
  async function output(expected: LineageFile, seen: Set<string>): Promise<boolean> {
    const report = reporter(CHANGED_OUTPUT)
    const { name, digest } = expected
    const file = inside(folder, name)
    if (file === undefined) report('output-missing', `${name} is not inside the output's folder`)
    if (file === undefined || !(await sized('output', name, file, expected.size, report)))
      return !isCheckpoint(expected)
    if (digest === null && expected.sha256 === undefined) {
      report('no-digest', `${name}: only its size was checked`, 'warning', 'the run was told to leave digests out')
      return !isCheckpoint(expected)
    }
    if (digest === null || !isCheckpoint(expected)) {
      const wanted = digest ?? expected.sha256!
      if ((await digestOfFile(file, wanted, options.signal)) !== wanted)
        report('output-digest', `${name} differs from the lineage`)
      return !isCheckpoint(expected)
    }
    const checkpoint = inModule(await opened('output', name, file, report), name)
    for (const tensor of checkpoint?.tensors.keys() ?? []) seen.add(tensor)
    if (checkpoint) pending.push({ checkpoint, compare: (found) => compareOutput(lineage, expected, found, report) })
    return checkpoint !== undefined
  }

  async function input(name: string, model: LineageModel): Promise<void> {
    const report = reporter(CHANGED_INPUT)
    const place = placeOf(model)
    const shown = `${name} (${model.reference})`
    if (place === undefined) {
      report(
        'input-unchecked',
        `${shown} was not checked`,
        'warning',
        'it is not in the hub’s cache: terge lock with the recipe fetches it',
      )
      return
    }
    const isFile = 'size' in (await fileSize(place))
    let same = true
    const isBeside = ({ name }: LineageFile) => name === ADAPTER_CONFIG
    for (const file of model.files) {
      const { digest } = file
      const single = isFile && !isBeside(file)
      const target = single ? place : inside(isFile ? path.dirname(place) : place, file.name)
      const name = single ? shown : `${shown}: ${file.name}`
      if (target === undefined) report('input-missing', `${name} is not inside the model's folder`)
      same = target !== undefined && (await sized('input', name, target, file.size, report)) && same
      if (!same || !isBeside(file) || digest === null) continue
      if ((await digestOfFile(target!, digest, options.signal)) !== digest)
        report('input-digest', `${name} differs from what was merged`)
    }
    if (!same || model.files.length === 0) return
    if (model.files.every((file) => file.digest === null)) {
      report('no-digest', `${shown}: only its size was checked`, 'warning', 'the run was told to leave digests out')
      return
    }
    // A folder may hold a model and an adapter.
    const adapter = model.files.some(({ name }) => name.startsWith('adapter_model.'))
    const checkpoint = await opened('input', shown, place, report, adapter)
    if (checkpoint)
      pending.push({
        checkpoint,
        compare: (found) =>
          compareInput(
            shown,
            model.files.filter((file) => !isBeside(file)),
            checkpoint,
            found,
            report,
          ),
      })
  }

  const seen = new Set<string>()
  // What was only evaluated is in no file.
  const { dropped = false, files } = lineage.output
  let complete = !dropped
  for (const file of dropped ? [] : files) complete = (await output(file, seen)) && complete
  const lost = complete ? Object.keys(lineage.tensors).filter((name) => !seen.has(name)) : []
  if (lost.length > 0)
    reporter(CHANGED_OUTPUT)(
      'output-digest',
      `${plural(lost.length, 'tensor')} of the lineage ${agree(lost.length, 'is', 'are')} in no file: ${listOf(lost)}`,
    )
  for (const [name, model] of Object.entries(lineage.models).sort(([, a], [, b]) => a.index - b.index))
    await input(name, model)

  const total = pending.flatMap(({ checkpoint }) => checkpoint.files).reduce((sum, { size }) => sum + size, 0)
  const found = await digestCheckpoints(
    pending.map(({ checkpoint }) => checkpoint),
    {
      ...(options.threads === undefined ? {} : { threads: options.threads }),
      ...(options.signal === undefined ? {} : { signal: options.signal }),
      progress: (read) =>
        options.listen?.({
          kind: 'step',
          step: 'verify',
          text: 'reading tensors',
          fraction: Math.min(1, read / total),
        }),
    },
  )
  for (const [index, { compare }] of pending.entries()) compare(found[index]!)
  return { problems: problems.flat(), ...checked }
}

/** A module's file has its tensors' names without the module. */
function inModule(checkpoint: Checkpoint | undefined, file: string): Checkpoint | undefined {
  const module = path.posix.dirname(file)
  if (!checkpoint || module === '.') return checkpoint
  const tensors = [...checkpoint.tensors.values()].map((tensor) => {
    const name = `${modulePrefix(module)}${tensor.name}`
    return [name, { ...tensor, name }] as const
  })
  return { ...checkpoint, tensors: new Map(tensors) }
}

/** By the algorithm that the expected digest names. */
const digestOfFile = (file: string, expected: Digest, signal?: AbortSignal): Promise<Digest> =>
  expected.startsWith('sha256:') ? sha256(file, signal) : xxh3OfFile(file, signal)
