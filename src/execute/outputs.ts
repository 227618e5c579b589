/** The outputs of a run, from the claimed path to the published result. */
import path from 'node:path'
import { OUTPUT } from '../checkpoints/containers/index.js'
import { readSidecar } from '../checkpoints/sidecars.js'
import { fault } from '../core/diagnostics.js'
import { sha256 } from '../core/digest.js'
import { withSlashes } from '../core/names/fileNames.js'
import { bytesDigest, type Kernels } from '../kernels/index.js'
import type { Plan, PlanOutput } from '../plan/types.js'
import { type InputState, refuseChanged } from '../storage/local/inputStates.js'
import { lineageName as nameBeside } from '../storage/local/recover.js'
import { replaceFile } from '../storage/local/replaceFile.js'
import { preallocateShared } from '../storage/local/shared/files.js'
import { changeOf, stagedStates } from '../storage/local/stagedStates.js'
import { discard, dropWeights, preallocate, publish, type Staging, stageFile } from '../storage/local/staging.js'
import { type Figures as Evaluations, runCommand } from './commands/command.js'
import { refuseInterrupted } from './interrupted.js'
import type { Bindings, Description, ExecuteOptions } from './types.js'

/** A small file next to the weights. */
export interface Beside {
  readonly name: string
  readonly size: number
  readonly digest: string | null
  /** Of its bytes, `sha256:…`. */
  readonly sha256: string
}

/** An output whose path is claimed. */
export interface ClaimedOutput {
  /** Index into `Plan.outputs`. */
  readonly output: number
  readonly staging: Staging
  /** Absolute paths of its staged files, by `PlanOutput.files`. */
  readonly files: readonly string[]
  /** Indexes of the files that this run makes. Default: all. */
  readonly own?: ReadonlySet<number> | undefined
}

export function claimedOutput(plan: Plan, output: number, staging: Staging, own?: ReadonlySet<number>): ClaimedOutput {
  const { layout, files } = plan.outputs[output]!
  const names = files.map(({ name }) => (layout === 'file' ? path.basename(staging.output) : name))
  return { output, staging, files: names.map((name) => path.join(staging.files, name)), own }
}

/** Gives the staged files their headers and their size. Those that leave early take less of the disk. */
export async function stageWeights(
  plan: Plan,
  batch: readonly ClaimedOutput[],
  deliveries?: ExecuteOptions['deliveries'],
): Promise<void> {
  for (const { output, staging, files, own } of batch)
    await (staging.shared ? preallocateShared : preallocate)(
      staging,
      [...plan.outputs[output]!.files.entries()]
        .filter(([index]) => own?.has(index) !== false)
        .map(([index, file]) => ({
          ...file,
          name: withSlashes(path.relative(staging.files, files[index]!)),
          header: OUTPUT.write.encode(file.header),
        })),
      !deliveries?.get(output)?.early,
    )
}

/** Writes the small files of an output. `kernels`: absent if the run skips digests. */
export async function stageBeside(
  output: PlanOutput,
  staging: Staging,
  bindings: Bindings,
  kernels: Kernels | undefined,
): Promise<readonly Beside[]> {
  const beside: Beside[] = []
  for (const { name, content } of await smallFiles(output, bindings)) {
    await stageFile(staging, name, content)
    const digest = kernels ? bytesDigest(kernels, content) : null
    beside.push({ name, size: content.length, digest, sha256: sha256(content) })
  }
  return beside
}

export async function evaluate(
  output: PlanOutput,
  { staging: { files }, files: [single] }: ClaimedOutput,
  { commands, listen, signal }: Pick<ExecuteOptions, 'commands' | 'listen' | 'signal'>,
  fraction: number,
  env: Readonly<Record<string, string>> = {},
): Promise<Evaluations | undefined> {
  if (!output.evaluate || commands === undefined) return undefined
  const text = output.check
    ? `evaluating the model ${output.check} the alignment`
    : output.point
      ? `evaluating ${output.point.name}`
      : 'evaluating'
  listen({ kind: 'step', step: output.from, text, ...(output.point ? { fraction } : {}) })
  const model = output.layout === 'file' || output.single ? single! : files
  const before = await stagedStates(files)
  const figures = await runCommand(output.evaluate, { folder: commands, model, env, ...(signal ? { signal } : {}) })
  const change = changeOf(before, await stagedStates(files))
  if (change === undefined) return figures
  throw fault(
    'evaluate-failed',
    `${output.evaluate.command.join(' ')}: ${change}; the command must not change the checkpoint`,
    'make the command work on a copy',
    1,
  )
}

/** Publishes a batch: writes lineages and model cards, and gives the outputs their names. Errors: `interrupted`, `input-changed`. */
export async function publishOutputs(
  plan: Plan,
  batch: readonly ClaimedOutput[],
  texts: readonly Description[],
  inputs: readonly InputState[],
  { listen, sync, signal, deliveries }: ExecuteOptions,
  published: (output: number) => void,
): Promise<void> {
  const stagings: Staging[] = []
  for (const [index, { output, staging: made }] of batch.entries()) {
    const { keep, layout } = plan.outputs[output]!
    const staging = keep ? made : await dropWeights(made)
    const { lineage, card, checksums } = texts[index]!
    await stageFile(staging, lineageName(layout, staging.output), lineage)
    if (layout === 'folder' && keep) await stageFile(staging, 'README.md', card())
    // Those of a single file on this machine are written beside it when it has its name.
    if (checksums && keep && (layout === 'folder' || deliveries?.has(output)))
      await stageFile(staging, checksumsName(layout, staging.output), checksums())
    stagings.push(staging)
  }
  refuseInterrupted(signal)
  await refuseChanged(inputs)
  for (const [index, { output }] of batch.entries()) {
    const staging = stagings[index]!
    const { permutations } = texts[index]!
    if (permutations)
      await replaceFile(permutationsPath(plan.outputs[output]!.layout, staging.output), permutations, sync)
    const delivery = deliveries?.get(output)
    if (delivery) {
      await delivery.publish(staging.files)
      await discard(staging)
    } else await publish(staging, { sync })
    published(output)
    const { files, tensors, keep } = plan.outputs[output]!
    const bytes = keep ? files.reduce((sum, file) => sum + file.size, 0) : 0
    listen({ kind: 'output', path: delivery?.address ?? staging.output, bytes, tensors: keep ? tensors.length : 0 })
  }
}

/** The name of an output's lineage, in its folder or next to its file. */
export const lineageName = (layout: PlanOutput['layout'], output: string): string =>
  layout === 'folder' ? 'lineage.json' : nameBeside(path.basename(output))

const PERMUTATIONS = `.permutations${OUTPUT.extension}`

/** The name of the checksums of an output's files, in its folder or next to its file. */
export const checksumsName = (layout: PlanOutput['layout'], output: string): string =>
  layout === 'folder' ? 'SHA256SUMS' : `${path.parse(output).name}.sha256`

/** The file of an output's permutations, next to it. */
export function permutationsPath(layout: PlanOutput['layout'], output: string): string {
  const stem = layout === 'folder' ? output : output.slice(0, -OUTPUT.extension.length)
  return `${stem}${PERMUTATIONS}`
}

/** The folder that a file of permutations has its name from. */
export const permutedName = (name: string): string =>
  name.endsWith(PERMUTATIONS) ? name.slice(0, -PERMUTATIONS.length) : name

/** The small files of an output: indexes, configuration, tokenizer. Error: `input-changed`. */
export async function smallFiles(
  output: PlanOutput,
  bindings: Pick<Bindings, 'models'>,
): Promise<{ name: string; content: Uint8Array }[]> {
  const encoder = new TextEncoder()
  const files = output.indexes.map(({ name, text }) => ({ name, content: encoder.encode(text) }))
  for (const sidecar of output.sidecars) {
    if (sidecar.kind === 'text') files.push({ name: sidecar.name, content: encoder.encode(sidecar.text) })
    else {
      const folder = bindings.models[sidecar.model]!
      const content = await readSidecar(folder, sidecar.name, path.join(folder, sidecar.name)).catch((error: Error) => {
        throw fault('input-changed', error.message, 'run again when nothing writes to the model', 1)
      })
      files.push({ name: sidecar.name, content: new Uint8Array(content) })
    }
  }
  return files
}
