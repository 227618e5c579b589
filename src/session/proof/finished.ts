/**
 * Finds the outputs that an earlier run finished, so that a resumed run keeps them. Only content counts: an output is
 * finished if its lineage belongs to this plan, and the digests of all inputs and outputs, computed again,
 * match the lineage.
 */

import path from 'node:path'
import { OUTPUT } from '../../checkpoints/containers/index.js'
import { ADAPTER_CONFIG } from '../../checkpoints/sidecars.js'
import { Fault, fault } from '../../core/diagnostics.js'
import { sha256 } from '../../core/digest.js'
import { VERSION } from '../../core/version.js'
import { differenceIn } from '../../execute/commands/checks.js'
import type { Listener } from '../../execute/events.js'
import { lineageName, smallFiles } from '../../execute/outputs.js'
import type { Bindings } from '../../execute/types.js'
import { bytesDigest, smallKernels } from '../../kernels/index.js'
import { checkFiles } from '../../lineage/checkFiles.js'
import { digestCheckpoints } from '../../lineage/digestCheckpoint.js'
import { exists, readLineage } from '../../lineage/disk.js'
import { type BytesDigest, fileDigest, wholeDigest } from '../../lineage/fileDigest.js'
import type { Digest, Lineage, LineageFile } from '../../lineage/types.js'
import { partsIn } from '../../plan/placements.js'
import type { Plan } from '../../plan/types.js'
import type { Recipe } from '../../recipe/types.js'
import { settleStaging } from '../../storage/local/staging.js'
import { smallFilesRead } from '../describe.js'
import { publishedLineage } from '../destinations/published.js'
import { adapterFile } from '../opened/adapterFile.js'
import type { OpenedModel } from '../opened/models.js'
import type { Digests } from '../sums/digests.js'
import { openRunSums } from '../sums/runSums.js'

export interface Checking {
  readonly plan: Plan
  readonly bindings: Bindings
  readonly models: ReadonlyMap<string, OpenedModel>
  readonly recipe: Recipe
  readonly threads: number
  /** Whether the lineage must have figures of `evaluate` commands. */
  readonly evaluated: boolean
  /** The digests that the lineage must have at least. */
  readonly digests: Digests
  readonly listen: Listener
  readonly signal?: AbortSignal | undefined
}

/** The lineage of a finished output, or the reason why the output does not count as finished. */
export type Finding = { readonly lineage: Lineage } | { readonly reason: string }

export function lineagePathOf(plan: Plan, { outputs }: Pick<Bindings, 'outputs'>, index: number): string {
  const { layout } = plan.outputs[index]!
  const output = outputs[index]!
  return path.join(layout === 'folder' ? output : path.dirname(output), lineageName(layout, output))
}

/** Undoes or finishes what a killed run had begun to publish, for all outputs, before any of them is refused or written. */
export async function settleOutputs(plan: Plan, { outputs }: Bindings): Promise<void> {
  for (const [index, { layout }] of plan.outputs.entries())
    await settleStaging(outputs[index]!, { kind: layout, drop: false })
}

/** Checks each output that exists. Removes unfinished work of finished outputs. Errors: `interrupted`, those of `settleStaging`. */
export async function findFinished(checking: Checking): Promise<Map<number, Finding>> {
  const { plan, bindings, listen } = checking
  const findings = new Map<number, Finding>()
  let inputs: Promise<Input[]> | undefined
  const inputsOnce = () => (inputs ??= digestInputs(checking))
  for (const index of plan.outputs.keys()) {
    const elsewhere = await publishedLineage(plan, index, bindings.outputs[index]!, checking.signal)
    if (elsewhere !== undefined) {
      const finding = await check(checking, index, elsewhere, inputsOnce, async () => undefined)
      if ('lineage' in finding) findings.set(index, finding)
      continue
    }
    const file = lineagePathOf(plan, bindings, index)
    if (!(await exists(bindings.outputs[index]!))) {
      if (await exists(file)) findings.set(index, { reason: `${path.basename(file)} exists without its model` })
      continue
    }
    listen({ kind: 'step', step: 'resume', text: `checking ${bindings.outputs[index]!}` })
    const finding = await check(checking, index, file, inputsOnce, otherFiles)
    findings.set(index, finding)
    if ('lineage' in finding)
      await settleStaging(bindings.outputs[index]!, { kind: plan.outputs[index]!.layout, drop: true })
  }
  return findings
}

async function check(
  checking: Checking,
  index: number,
  file: string,
  inputs: () => Promise<Input[]>,
  others: typeof otherFiles,
): Promise<Finding> {
  let lineage: Lineage
  try {
    lineage = (await readLineage(file)).lineage
  } catch (error) {
    if (!(error instanceof Fault)) throw error
    return { reason: error.diagnostics[0]!.message }
  }
  const reason =
    (await otherPlan(checking, index, lineage)) ??
    otherInputs(lineage, await inputs()) ??
    (await others(checking, lineage, path.dirname(file)))
  return reason === undefined ? { lineage } : { reason }
}

/** Why a lineage does not belong to this plan or is incomplete, from its text alone. */
async function otherPlan(
  { plan, bindings, evaluated, digests: wanted }: Checking,
  index: number,
  lineage: Lineage,
): Promise<string | undefined> {
  const { from, point, keep, evaluate, layout, files, tensors, permutations } = plan.outputs[index]!
  const { output } = lineage
  const same =
    lineage.plan.digest === plan.digest &&
    output.from === from &&
    output.point?.name === point?.name &&
    (output.dropped === true) === !keep &&
    (output.permutations !== undefined) === (permutations !== undefined)
  if (!same) return 'its lineage belongs to another recipe, or the models’ tensors have changed'
  if (lineage.terge !== VERSION) return `terge ${lineage.terge} wrote it, and this is terge ${VERSION}`
  if (output.digest === null) return 'its lineage has no digests'
  if (evaluated && evaluate && !lineage.evaluations) return 'it was not evaluated'
  if (evaluated && plan.checks?.some(({ step, tolerance }) => isUnchecked(lineage, step, tolerance)))
    return 'its alignments were not checked'
  const summed = [output, ...Object.values(lineage.models)].flatMap(({ files }) => files)
  if (wanted === 'full' && summed.some((file) => file.sha256 === undefined || file.sha256_from === 'published'))
    return 'its lineage has no SHA-256 of all files'
  const hash = await hasher()
  const weights = files.map(({ name, size, header }, file): LineageFile => {
    const digests = partsIn(tensors, file).map(({ placement }) => lineage.tensors[placement.name]?.digest ?? null)
    const shown = layout === 'file' ? path.basename(bindings.outputs[index]!) : name
    return { name: shown, size, digest: fileDigest(sha256(OUTPUT.write.encode(header)), digests, hash) }
  })
  const beside = (await smallFiles(plan.outputs[index]!, bindings)).map(({ name, content }) => {
    return { name, size: content.length, digest: hash(content) }
  })
  const expected = [...weights, ...beside]
  const differs = expected.find((file, place) => !isSame(file, output.files[place]))
  if (differs) return `${differs.name} would differ`
  const digests = output.files.map(({ digest }) => digest)
  const complete = expected.length === output.files.length && wholeDigest(digests, hash) === output.digest
  return complete ? undefined : 'its lineage contradicts itself'
}

/** Whether a step of the lineage lacks the check that the recipe has now. */
function isUnchecked({ steps }: Lineage, step: string, tolerance: number): boolean {
  const record = Object.hasOwn(steps, step) ? steps[step] : undefined
  const check = record && 'check' in record ? record.check : undefined
  return record !== undefined && (!check || differenceIn({ ...check, tolerance }) !== undefined)
}

const isSame = (file: LineageFile, other: LineageFile | undefined): boolean =>
  file.digest !== null &&
  file.name === other?.name &&
  file.size === other.size &&
  file.digest === other.digest &&
  (file.sha256 === undefined || file.sha256 === other.sha256)

async function hasher(): Promise<BytesDigest> {
  const kernels = await smallKernels()
  return (bytes) => bytesDigest(kernels, bytes)
}

/** A model's files now. Files that are not downloaded have no digest. */
interface Input {
  readonly name: string
  readonly revision?: string | undefined
  readonly files: readonly {
    readonly name: string
    readonly size: number
    readonly digest?: Digest
    readonly sha256?: Digest
  }[]
  readonly beside: readonly LineageFile[]
}

async function digestInputs(checking: Checking): Promise<Input[]> {
  const { plan, models, threads, signal, listen, digests: wanted } = checking
  const used = plan.models.map(({ name }) => models.get(name)!)
  const here = used.filter(({ fetches }) => fetches.length === 0).map(({ checkpoint }) => checkpoint)
  const digests = await digestCheckpoints(here, { threads, ...(signal ? { signal } : {}) })
  const hash = await hasher()
  const found = plan.models.map(({ name, revision }, index) => {
    const { checkpoint } = used[index]!
    const own = digests[here.indexOf(checkpoint)]
    const weights = checkpoint.files.map(({ name, size }, file) => {
      return { name, size, ...(own ? { digest: own.files[file]! } : {}) }
    })
    const config = adapterFile(checkpoint)
    const beside = config ? [{ name: ADAPTER_CONFIG, size: config.length, digest: hash(config) }] : []
    return { name, revision, files: [...weights, ...beside] }
  })
  const isHere = (file: number): boolean => used[plan.files[file]!.model]!.fetches.length === 0
  const known = found.flatMap(({ files }, model) => files.slice(0, used[model]!.checkpoint.files.length))
  const sums = openRunSums(checking, { threads, listen, signal })
  try {
    const summed =
      wanted === 'full'
        ? await sums.inputs(
            known.map(({ digest }) => digest ?? null),
            isHere,
          )
        : []
    const beside = await smallFilesRead(checking, true, wanted === 'full' ? sums.files : undefined)
    let next = 0
    return found.map((model, index) => ({
      ...model,
      files: model.files.map((file, place) =>
        place < used[index]!.checkpoint.files.length ? { ...file, ...summed[next++] } : file,
      ),
      beside: beside.get(model.name) ?? [],
    }))
  } finally {
    await sums.close()
  }
}

/** Why the models are not those of the lineage. The commit decides for hub files that are not downloaded. */
function otherInputs(lineage: Lineage, inputs: readonly Input[]): string | undefined {
  const other = inputs.find(({ name, revision, files, beside }) => {
    const noted = Object.hasOwn(lineage.models, name) ? lineage.models[name] : undefined
    const pinned = revision !== undefined && /^[0-9a-f]{40}$/.test(revision) && noted?.revision === revision
    const same = files.every(({ name, size, digest, sha256 }, index) => {
      const before = noted?.files[index]
      if (before?.name !== name || before.size !== size) return false
      if (digest === undefined) return pinned
      return digest === before.digest && (sha256 === undefined || sha256 === before.sha256)
    })
    return !same || noted?.files.length !== files.length || !areSame(beside, noted.beside ?? [])
  })
  if (other) return `model '${other.name}' has changed since then`
  return Object.keys(lineage.models).length === inputs.length ? undefined : 'it was merged from other models'
}

const areSame = (now: readonly LineageFile[], before: readonly LineageFile[]): boolean =>
  now.length === before.length && now.every((file, index) => isSame(file, before[index]))

/** Why the output's files differ from the lineage. */
async function otherFiles(
  { threads, signal }: Checking,
  lineage: Lineage,
  folder: string,
): Promise<string | undefined> {
  const options = { threads, ...(signal ? { signal } : {}) }
  const { problems } = await checkFiles({ ...lineage, models: {} }, folder, () => undefined, options)
  return problems[0]?.message
}

/** A resumed run continues unfinished work, but does not replace other outputs. Error: `output-exists`. */
export function refuseOthers({ outputs }: Bindings, findings: ReadonlyMap<number, Finding>): void {
  const others = [...findings].flatMap(([index, finding]) =>
    'reason' in finding
      ? fault(
          'output-exists',
          `${outputs[index]!}: already exists and differs from what this recipe produces: ${finding.reason}`,
          'use --force to replace it',
        ).diagnostics
      : [],
  )
  if (others.length > 0) throw new Fault(others)
}
