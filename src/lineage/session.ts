/** The verbs of the library: a recipe is loaded, validated, planned and run. The commands are thin over these. */
import { readFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import path from 'node:path'
import { openCheckpoint } from '../checkpoints/open.js'
import type { Checkpoint } from '../checkpoints/types.js'
import { type Diagnostic, Fault, type Place } from '../core/diagnostics.js'
import { sha256 } from '../core/digest.js'
import { VERSION } from '../core/version.js'
import type { Listener } from '../execute/events.js'
import { type Bindings, type Executed, executePlan, headerBytes, lineageName } from '../execute/run.js'
import { bytesDigest } from '../kernels/index.js'
import { modelsOf, planRecipe } from '../plan/plan.js'
import type { Plan } from '../plan/types.js'
import { type LoadOptions, loadRecipe } from '../recipe/load.js'
import type { Recipe } from '../recipe/types.js'
import { buildLineage, type RunDigests } from './build.js'
import { sha256 as sha256OfFile } from './disk.js'
import { fileDigest } from './fileDigest.js'
import { type ImportOptions, importRecipe, loadKnowing, type OpenModels } from './knowing.js'
import { parseLineage } from './parse.js'
import { lineageText } from './serialize.js'
import type { Lineage } from './types.js'

export type { LoadOptions } from '../recipe/load.js'

/** A recipe's text, checked; models are not opened. */
export const load = loadRecipe

export interface ValidateOptions extends LoadOptions {
  /** False: the text alone. */
  readonly models?: boolean
}

/** Every fault of a recipe, in the order of its lines: of the text, and of the models' headers where the text is right. */
export async function validate(
  file: string,
  options: ValidateOptions = {},
): Promise<{ diagnostics: readonly Diagnostic[]; plan?: Plan }> {
  if (options.models === false) return { diagnostics: loadRecipe(file, options).diagnostics }
  const { recipe, diagnostics } = await loadKnowing(file, options, openAll)
  if (!recipe) return { diagnostics }
  const { plan, diagnostics: found } = await compile(recipe)
  return { diagnostics: inOrder([...diagnostics, ...found]), ...(plan ? { plan } : {}) }
}

/** A plan with what running it needs. */
export interface Prepared {
  readonly plan: Plan
  readonly recipe: Recipe
  readonly bindings: Bindings
  /** Warnings. */
  readonly diagnostics: readonly Diagnostic[]
}

/** Plans a recipe from its models' headers. Throws a Fault with all faults where there are errors. */
export async function plan(file: string, options: LoadOptions = {}): Promise<Prepared> {
  const { recipe, diagnostics } = await loadKnowing(file, options, openAll)
  if (!recipe) throw new Fault(diagnostics)
  const { plan, bindings, diagnostics: found } = await compile(recipe)
  const all = inOrder([...diagnostics, ...found])
  if (!plan || !bindings) throw new Fault(all)
  return { plan, recipe, bindings, diagnostics: all }
}

async function openAll(recipe: Recipe): ReturnType<OpenModels> {
  const opened = await Promise.all(modelsOf(recipe).map((name) => openModel(recipe, name)))
  const checkpoints = new Map<string, Checkpoint>()
  for (const model of opened) if ('checkpoint' in model) checkpoints.set(model.name, model.checkpoint)
  return { checkpoints, diagnostics: opened.flatMap((model) => ('diagnostics' in model ? model.diagnostics : [])) }
}

/** The recipe that a mergekit configuration stands for, as text. */
export const importMergekit = (file: string, options: ImportOptions = {}) => importRecipe(file, options, openAll)

async function compile(
  recipe: Recipe,
): Promise<{ plan?: Plan; bindings?: Bindings; diagnostics: readonly Diagnostic[] }> {
  const { checkpoints, diagnostics } = await openAll(recipe)
  if (diagnostics.length > 0) return { diagnostics }
  const { plan, diagnostics: found } = planRecipe(recipe, checkpoints)
  if (!plan) return { diagnostics: found }
  const models = plan.models.map(({ name }) => checkpoints.get(name)!)
  const bindings: Bindings = {
    files: models.flatMap((checkpoint) => checkpoint.files.map((file) => file.path)),
    models: models.map((checkpoint) => checkpoint.path),
    outputs: recipe.outputs.map((output) => output.resolved),
  }
  return { plan, bindings, diagnostics: found }
}

async function openModel(
  recipe: Recipe,
  name: string,
): Promise<{ name: string; checkpoint: Checkpoint } | { diagnostics: readonly Diagnostic[] }> {
  const source = recipe.models.get(name)!
  try {
    const { reference } = source
    return { name, checkpoint: await openCheckpoint(reference, path.resolve(recipe.folder, reference)) }
  } catch (error) {
    if (!(error instanceof Fault)) throw error
    const place = recipe.placeOf(source.at, 'value')
    return { diagnostics: error.diagnostics.map((diagnostic) => ({ ...diagnostic, place: diagnostic.place ?? place })) }
  }
}

function inOrder(diagnostics: readonly Diagnostic[]): Diagnostic[] {
  const key = (place: Place | undefined) => (place ? place.line * 1e6 + place.column : Number.POSITIVE_INFINITY)
  return [...diagnostics].sort((a, b) => key(a.place) - key(b.place))
}

export interface RunOptions {
  /** Default: one a core. */
  readonly threads?: number
  /** Bound of anonymous memory in bytes, all threads together. Default: 1 GB. */
  readonly memory?: number
  readonly resume?: boolean
  readonly force?: boolean
  /** Default true: the output is on the disk before it has its name. */
  readonly sync?: boolean
  /** Default true. */
  readonly digests?: boolean
  /** Besides, SHA-256 of whole files: what the hub publishes. */
  readonly sha256?: boolean
  readonly listen?: Listener
  readonly signal?: AbortSignal
}

export interface RunResult {
  readonly outputs: readonly {
    /** Absolute. */
    readonly path: string
    readonly lineagePath: string
    readonly lineage: Lineage
    /** Of the checkpoint's files. */
    readonly bytes: number
  }[]
  readonly seconds: number
}

const DEFAULT_MEMORY = 1e9

/** Executes a plan and writes outputs and lineage. Faults: 1 while executing, 130 when aborted. */
export async function run(prepared: Prepared, options: RunOptions = {}): Promise<RunResult> {
  const started = performance.now()
  const { plan, bindings } = prepared
  const listen = options.listen ?? (() => {})
  const lineages = (options.resume && (await finishedBefore(plan, bindings))) || []
  if (lineages.length === 0) {
    await executePlan(
      plan,
      bindings,
      {
        threads: options.threads ?? availableParallelism(),
        memory: options.memory ?? DEFAULT_MEMORY,
        resume: options.resume ?? false,
        force: options.force ?? false,
        sync: options.sync ?? true,
        digests: options.digests ?? true,
        listen,
        ...(options.signal ? { signal: options.signal } : {}),
      },
      async (executed) => {
        lineages.push(...(await describe(prepared, executed, options.sha256 ?? false)))
        return lineages.map(lineageText)
      },
    )
  }
  const seconds = (performance.now() - started) / 1000
  listen({ kind: 'end', seconds })
  const outputs = lineages.map((lineage, index) => {
    const output = bindings.outputs[index]!
    return {
      path: output,
      lineagePath: lineagePathOf(plan, bindings, index),
      lineage,
      bytes: plan.outputs[index]!.files.reduce((sum, file) => sum + file.size, 0),
    }
  })
  return { outputs, seconds }
}

function lineagePathOf(plan: Plan, { outputs }: Bindings, index: number): string {
  const { layout } = plan.outputs[index]!
  const output = outputs[index]!
  return path.join(layout === 'folder' ? output : path.dirname(output), lineageName(layout, output))
}

/** The lineages of outputs that an earlier run of this very plan finished: then a resume has nothing left to do. */
async function finishedBefore(plan: Plan, bindings: Bindings): Promise<Lineage[] | undefined> {
  const lineages: Lineage[] = []
  for (const index of plan.outputs.keys()) {
    const file = lineagePathOf(plan, bindings, index)
    try {
      await openCheckpoint(plan.outputs[index]!.path, bindings.outputs[index]!)
      const lineage = parseLineage(await readFile(file, 'utf8'), file)
      if (lineage.plan.digest !== plan.digest) return undefined
      lineages.push(lineage)
    } catch {
      return undefined
    }
  }
  return lineages
}

async function describe({ plan, recipe, bindings }: Prepared, executed: Executed, whole: boolean): Promise<Lineage[]> {
  const hash = (bytes: Uint8Array) => bytesDigest(executed.kernels, bytes)
  const sums = async (files: readonly string[]) =>
    whole ? await Promise.all(files.map((file) => sha256OfFile(file))) : undefined
  const inputs = await sums(bindings.files)
  const outputs: RunDigests['outputs'][number][] = []
  for (const [index, { tensors, beside, files }] of executed.outputs.entries()) {
    const output = plan.outputs[index]!
    const written = await sums(files)
    outputs.push({
      tensors,
      // The layout lists a file's tensors in the order in which they lie in it.
      files: output.files.map(({ header }, file) =>
        fileDigest(
          sha256(headerBytes(header)),
          tensors.filter((_, tensor) => output.tensors[tensor]!.file === file),
          hash,
        ),
      ),
      others: beside,
      ...(written ? { sha256: written } : {}),
    })
  }
  const digests: RunDigests = {
    files: plan.files.map(({ headerDigest, tensors }, file) =>
      fileDigest(
        headerDigest,
        tensors.map(({ offset, bytes }) => executed.inputs.get(`${file}:${offset}:${bytes}`) ?? null),
        hash,
      ),
    ),
    outputs,
    ...(inputs ? { sha256: inputs } : {}),
  }
  return plan.outputs.map((_, output) =>
    buildLineage({ plan, recipe, output, digests, steps: executed.steps, version: VERSION, bytesDigest: hash }),
  )
}

/** Opens a model's headers. Fault where it is missing or bad. */
export const inspect = (reference: string): Promise<Checkpoint> => openCheckpoint(reference, path.resolve(reference))
