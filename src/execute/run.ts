import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { discard, leave, openStaging, preallocate, publish, type Staging, stageFile } from '../checkpoints/staging.js'
import { Fault, fault } from '../core/diagnostics.js'
import { bytesDigest, compileKernels, instantiateKernels, type Kernels } from '../kernels/index.js'
import type { Plan, PlanOutput } from '../plan/types.js'
import { analyse } from './analyse.js'
import { threadsWithin } from './budget.js'
import type { Listener } from './events.js'
import type { Findings } from './findings.js'
import { openJournal } from './journal.js'
import { type MergeResult, mergeTensors, type StagedOutput } from './merge.js'
import { windowMode } from './windowMode.js'

/** Where a plan's files lie on this machine: absolute paths. Never part of a plan. */
export interface Bindings {
  /** By `Plan.files`. */
  readonly files: readonly string[]
  /** By `Plan.models`: file or folder. */
  readonly models: readonly string[]
  /** By `Plan.outputs`. */
  readonly outputs: readonly string[]
}

export interface ExecuteOptions {
  readonly threads: number
  /** Bound of anonymous memory in bytes, all threads together. */
  readonly memory: number
  readonly resume: boolean
  readonly force: boolean
  readonly sync: boolean
  readonly digests: boolean
  readonly listen: Listener
  readonly signal?: AbortSignal
}

/** A small file that stands beside the weights. */
export interface Beside {
  readonly name: string
  readonly size: number
  readonly digest: string | null
}

/** What the run found out; the caller makes the lineage of it. */
export interface Executed {
  /** Of the inputs' tensors, by `FILE:OFFSET:BYTES`. */
  readonly inputs: ReadonlyMap<string, string>
  readonly outputs: readonly {
    /** By `PlanOutput.tensors`. */
    readonly tensors: readonly (string | null)[]
    /** Index, config and tokenizer files. */
    readonly beside: readonly Beside[]
    /** Of the checkpoint's files, absolute, while they are staged. */
    readonly files: readonly string[]
  }[]
  /** By step, what an analysis found: permutations' digests, scores, what was repaired. */
  readonly steps: ReadonlyMap<string, Readonly<Record<string, unknown>>>
  readonly kernels: Kernels
}

/** The name of an output's lineage, in its folder or beside its file. */
export const lineageName = (layout: PlanOutput['layout'], output: string): string =>
  layout === 'folder' ? 'lineage.json' : `${path.basename(output, '.safetensors')}.lineage.json`

/**
 * Executes a plan: stages all outputs, computes them, has `describe` write each output's lineage, and publishes them.
 * Faults: those of staging and of reading; `interrupted` with exit 130. Nothing stays behind but what a resume needs.
 */
export async function executePlan(
  plan: Plan,
  bindings: Bindings,
  options: ExecuteOptions,
  describe: (executed: Executed) => Promise<readonly string[]> | readonly string[],
): Promise<void> {
  const { listen } = options
  const mode = windowMode()
  const threads = threadsWithin(plan, options.threads, options.memory, mode)
  if (threads < options.threads) {
    listen({
      kind: 'notice',
      message: `--memory has room for ${threads} of ${options.threads} threads: using ${threads}`,
    })
  }
  if (mode === 'read') listen({ kind: 'notice', message: 'files cannot be mapped here: reading them instead' })
  const stagings: Staging[] = []
  try {
    for (const [index, output] of plan.outputs.entries()) {
      const { force, resume } = options
      stagings.push(await openStaging(bindings.outputs[index]!, { kind: output.layout, force, resume }))
    }
    const executed = await fill(plan, bindings, stagings, { ...options, threads })
    const texts = await describe(executed)
    for (const [index, staging] of stagings.entries()) {
      await stageFile(staging, lineageName(plan.outputs[index]!.layout, bindings.outputs[index]!), texts[index]!)
    }
    refuseInterrupted(options.signal)
    listen({ kind: 'phase', phase: options.sync ? 'flushing' : 'publishing' })
    for (const [index, staging] of stagings.entries()) {
      await publish(staging, { sync: options.sync })
      const { files, tensors } = plan.outputs[index]!
      const bytes = files.reduce((sum, file) => sum + file.size, 0)
      listen({ kind: 'output', path: bindings.outputs[index]!, bytes, tensors: tensors.length })
    }
  } catch (error) {
    // A resume needs what is there; else nothing is left. An output that was published stays: it is whole.
    for (const staging of stagings) await (options.resume ? leave(staging) : discard(staging)).catch(() => {})
    throw error
  }
}

async function fill(
  plan: Plan,
  bindings: Bindings,
  stagings: readonly Staging[],
  options: ExecuteOptions,
): Promise<Executed> {
  const module = await compileKernels()
  // The main thread only hashes digests and asks for sines: scratch space of its own, no windows.
  const kernels = instantiateKernels(module, new WebAssembly.Memory({ initial: 32 }))
  const staged: StagedOutput[] = []
  for (const [index, staging] of stagings.entries()) {
    const output = plan.outputs[index]!
    const files = output.files.map((file) => ({
      ...file,
      name: output.layout === 'file' ? path.basename(staging.output) : file.name,
      header: headerBytes(file.header),
    }))
    await preallocate(staging, files)
    staged.push({
      files: files.map(({ name }) => path.join(staging.files, name)),
      journal: openJournal(path.join(staging.folder, 'journal'), plan, bindings.files, staging.resumed),
    })
  }
  const { findings, close } = await analyse(plan, bindings.files, module, options)
  try {
    refuseInterrupted(options.signal)
    options.listen({ kind: 'phase', phase: 'merging' })
    const merged = await mergeTensors(plan, bindings.files, staged, kernels, findings, options)
    refuseInterrupted(options.signal)
    return await besides(plan, bindings, stagings, staged, merged, findings, kernels, options.digests)
  } finally {
    await close()
  }
}

/** Writes the small files beside the weights, and gathers what the run found out. */
async function besides(
  plan: Plan,
  bindings: Bindings,
  stagings: readonly Staging[],
  staged: readonly StagedOutput[],
  merged: MergeResult,
  findings: Findings,
  kernels: Kernels,
  digests: boolean,
): Promise<Executed> {
  const outputs: Executed['outputs'][number][] = []
  for (const [index, output] of plan.outputs.entries()) {
    const beside: Beside[] = []
    for (const { name, content } of await smallFiles(output, bindings)) {
      await stageFile(stagings[index]!, name, content)
      beside.push({ name, size: content.length, digest: digests ? bytesDigest(kernels, content) : null })
    }
    outputs.push({ tensors: merged.outputs[index]!, beside, files: staged[index]!.files })
  }
  return { inputs: merged.inputs, outputs, steps: findings.records, kernels }
}

/** A safetensors header as it stands in the file: its length as u64, little-endian, then the text. */
export function headerBytes(header: string): Uint8Array {
  const text = new TextEncoder().encode(header)
  const bytes = new Uint8Array(8 + text.length)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true)
  bytes.set(text, 8)
  return bytes
}

async function smallFiles(output: PlanOutput, bindings: Bindings): Promise<{ name: string; content: Uint8Array }[]> {
  const encoder = new TextEncoder()
  const files = output.index ? [{ name: output.index.name, content: encoder.encode(output.index.text) }] : []
  for (const sidecar of output.sidecars) {
    if (sidecar.kind === 'text') files.push({ name: sidecar.name, content: encoder.encode(sidecar.text) })
    else {
      const from = path.join(bindings.models[sidecar.model]!, sidecar.name)
      const content = await readFile(from).catch((error: Error) => {
        throw fault('input-changed', `${from}: ${error.message}`, 'run again when nothing writes to the model', 1)
      })
      files.push({ name: sidecar.name, content: new Uint8Array(content) })
    }
  }
  return files
}

function refuseInterrupted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new Fault([{ severity: 'error', code: 'interrupted', message: 'interrupted' }], 130)
}
