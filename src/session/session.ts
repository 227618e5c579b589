/** The verbs of the library: a recipe is loaded, validated, planned and run. The commands are thin over these. */
import { readFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import path from 'node:path'
import { openCheckpoint } from '../checkpoints/open.js'
import { byPlace } from '../checkpoints/order.js'
import { ADAPTER_CONFIG, readSidecars } from '../checkpoints/sidecars.js'
import type { Checkpoint } from '../checkpoints/types.js'
import { type Diagnostic, Fault, fault, hasErrors, type Place } from '../core/diagnostics.js'
import { sha256 } from '../core/digest.js'
import { VERSION } from '../core/version.js'
import type { Listener } from '../execute/events.js'
import { type Bindings, type Executed, executePlan, headerBytes, lineageName } from '../execute/run.js'
import { bytesDigest } from '../kernels/index.js'
import { buildLineage, type RunDigests } from '../lineage/build.js'
import { modelCard } from '../lineage/card.js'
import { exists, sha256 as sha256OfFile } from '../lineage/disk.js'
import { fileDigest } from '../lineage/fileDigest.js'
import { type Lock, lockPath, lockText, readLock } from '../lineage/lock.js'
import { parseLineage } from '../lineage/parse.js'
import { lineageText } from '../lineage/serialize.js'
import type { Lineage } from '../lineage/types.js'
import { isFactor } from '../plan/adapter/tensors.js'
import { checkDraft } from '../plan/draft.js'
import { modelsOf, needsTokenizers, planRecipe } from '../plan/plan.js'
import { TOKENIZER_FILES } from '../plan/tokenizer.js'
import type { Plan } from '../plan/types.js'
import { type Loaded, type LoadOptions, loadRecipe } from '../recipe/load.js'
import type { Recipe } from '../recipe/types.js'
import { checkLocked, lockDifferences, makeLock, pinOf } from './locking.js'
import { type ImportOptions, importRecipe, loadKnowing, type OpenModels } from './mergekit.js'
import { checkSums, type FetchOptions, fetchModels, type OpenedModel, openSource, type Pin } from './models.js'
import { misplacedOutputs } from './outputPlaces.js'

export type { LoadOptions } from '../recipe/load.js'

export interface PlanOptions extends LoadOptions {
  /** Only what the recipe's lock has is used. */
  readonly locked?: boolean
  /** By model: the commits to take, whatever their revisions stand for now. */
  readonly commits?: ReadonlyMap<string, string>
}

/** A recipe's text, checked; models are not opened. */
export const load = loadRecipe

export interface ValidateOptions extends LoadOptions {
  /** False: the text alone. */
  readonly models?: boolean
}

/** Every fault of a recipe, in the order of its lines: of the text, and of the models' headers as far as the text is right. */
export async function validate(
  file: string,
  options: ValidateOptions = {},
): Promise<{ diagnostics: readonly Diagnostic[]; plan?: Plan }> {
  if (options.models === false) return { diagnostics: loadRecipe(file, options).diagnostics }
  const loaded = await loadKnowing(file, options, (recipe) => openAll(recipe))
  const { recipe, diagnostics } = loaded
  if (!recipe) return { diagnostics: inOrder([...diagnostics, ...(await probe(loaded))]) }
  const { plan, diagnostics: found } = await compile(recipe)
  return { diagnostics: inOrder([...diagnostics, ...found]), ...(plan ? { plan } : {}) }
}

/** A plan with what running it needs. */
export interface Prepared {
  readonly plan: Plan
  readonly recipe: Recipe
  readonly bindings: Bindings
  /** By name; what of them is still on the hub, the run fetches. */
  readonly models: ReadonlyMap<string, OpenedModel>
  /** What the run must find in its inputs. */
  readonly lock?: Lock
  /** Warnings. */
  readonly diagnostics: readonly Diagnostic[]
}

/** Plans a recipe from its models' headers. Throws a Fault with all faults where there are errors. */
export async function plan(file: string, options: PlanOptions = {}): Promise<Prepared> {
  const lock = options.locked ? await readLock(lockPath(file)) : undefined
  const pin: Pins = (name) => (lock ? pinOf(lock, name) : { commit: options.commits?.get(name) })
  const loaded = await loadKnowing(file, options, (recipe) => openAll(recipe, pin))
  const { recipe, diagnostics } = loaded
  if (!recipe) throw new Fault(inOrder([...diagnostics, ...(await probe(loaded))]))
  const { plan, bindings, models, diagnostics: found } = await compile(recipe, pin, lock)
  const all = inOrder([...diagnostics, ...found])
  if (!plan || !bindings) throw new Fault(all)
  return { plan, recipe, bindings, models, diagnostics: all, ...(lock ? { lock } : {}) }
}

type Pins = (model: string) => Pin

async function openAll(recipe: Recipe, pin?: Pins): ReturnType<OpenModels> {
  const opened = await Promise.all(modelsOf(recipe).map((name) => openSource(recipe, name, pin?.(name))))
  const checkpoints = opened.flatMap(({ name, model }) => (model ? [[name, model.checkpoint] as const] : []))
  return { checkpoints: new Map(checkpoints), diagnostics: opened.flatMap(({ diagnostics }) => diagnostics) }
}

/** The recipe that a mergekit configuration stands for, as text. */
export const importMergekit = (file: string, options: ImportOptions = {}) =>
  importRecipe(file, options, (recipe) => openAll(recipe))

interface Compiled {
  readonly plan?: Plan
  readonly bindings?: Bindings
  readonly models: ReadonlyMap<string, OpenedModel>
  readonly diagnostics: readonly Diagnostic[]
}

async function compile(recipe: Recipe, pin?: Pins, lock?: Lock): Promise<Compiled> {
  const opened = await Promise.all(modelsOf(recipe).map((name) => openSource(recipe, name, pin?.(name))))
  const models = new Map(opened.flatMap(({ name, model }) => (model ? [[name, model] as const] : [])))
  const diagnostics = opened.flatMap((model) => model.diagnostics)
  if (lock) for (const [name, model] of models) diagnostics.push(...(await lockDifferences(lock, recipe, name, model)))
  const checkpoints = new Map([...models].map(([name, { checkpoint }]) => [name, checkpoint]))
  if (hasErrors(diagnostics))
    return { models, diagnostics: [...diagnostics, ...checkDraft(recipe, checkpoints, () => false)] }
  const { plan, diagnostics: found } = planRecipe(recipe, checkpoints, await tokenizersOf(recipe, checkpoints))
  if (!plan) return { models, diagnostics: [...diagnostics, ...found] }
  const used = plan.models.map(({ name }) => checkpoints.get(name)!)
  const bindings: Bindings = {
    files: used.flatMap((checkpoint) => checkpoint.files.map((file) => file.path)),
    models: used.map((checkpoint) => checkpoint.path),
    outputs: plan.outputs.map(({ spec, point, layout }) => {
      const { resolved } = recipe.outputs[spec]!
      return point ? path.join(resolved, `${point.name}${layout === 'file' ? '.safetensors' : ''}`) : resolved
    }),
  }
  const misplaced = await misplacedOutputs(plan, bindings.outputs, recipe, checkpoints)
  if (misplaced.length > 0) return { models, diagnostics: [...diagnostics, ...found, ...misplaced] }
  return { plan, bindings, models, diagnostics: [...diagnostics, ...found] }
}

/** Texts of the models' tokenizers, where the recipe asks for something to be done with them. */
async function tokenizersOf(
  recipe: Recipe,
  checkpoints: ReadonlyMap<string, Checkpoint>,
): Promise<ReadonlyMap<string, Readonly<Record<string, string>>>> {
  if (!needsTokenizers(recipe)) return new Map()
  const read = [...checkpoints].map(
    async ([name, checkpoint]) => [name, await readSidecars(checkpoint, TOKENIZER_FILES)] as const,
  )
  return new Map(await Promise.all(read))
}

/** What models on this machine tell of a recipe whose text has faults: all faults are told in one go. */
async function probe({ draft, isWrong }: Loaded): Promise<readonly Diagnostic[]> {
  if (!draft || !isWrong) return []
  const names = modelsOf(draft).filter((name) => {
    const source = draft.models.get(name)
    return source?.origin === 'path' && source.reference !== ''
  })
  const opened = await Promise.all(names.map((name) => openSource(draft, name)))
  const models = opened.flatMap(({ name, model }) => (model ? [[name, model.checkpoint] as const] : []))
  return [...opened.flatMap(({ diagnostics }) => diagnostics), ...checkDraft(draft, new Map(models), isWrong)]
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
  /** What becomes of `evaluate` commands: a fault (default), run, or left out with their figures. */
  readonly commands?: 'refuse' | 'run' | 'skip'
  readonly listen?: Listener
  readonly signal?: AbortSignal
}

export interface RunResult {
  readonly outputs: readonly {
    /** Absolute. */
    readonly path: string
    readonly lineagePath: string
    readonly lineage: Lineage
    /** Of the checkpoint's files; 0 where they were only evaluated. */
    readonly bytes: number
  }[]
  readonly seconds: number
}

const DEFAULT_MEMORY = 1e9

/** Executes a plan and writes outputs and lineage. Faults: 1 while executing, 130 when aborted; `needs-commands`. */
export async function run(prepared: Prepared, options: RunOptions = {}): Promise<RunResult> {
  const started = performance.now()
  const { plan, bindings, recipe, models, lock } = prepared
  const { commands = 'refuse' } = options
  const listen = options.listen ?? (() => {})
  if (lock && options.digests === false)
    throw fault(
      'contradiction',
      'a run with a lock compares digests, and can’t leave them out',
      'leave out --no-digests',
    )
  if (commands === 'refuse') refuseCommands(recipe)
  const lineages = new Map<number, Lineage>()
  if (options.resume)
    for (const index of plan.outputs.keys()) {
      const lineage = await finishedBefore(plan, bindings, index)
      if (!lineage) {
        await refuseOther(bindings.outputs[index]!, options.force ?? false)
        continue
      }
      if (lock) checkLocked(lock, recipe, lineage.models)
      lineages.set(index, lineage)
    }
  if (lineages.size < plan.outputs.length) {
    const finished = new Set(lineages.keys())
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
        finished: (index) => finished.has(index),
        async before() {
          await fetchModels(models, { listen, signal: options.signal }, recipe)
          await checkSums(recipe, models, { listen, signal: options.signal })
        },
        listen,
        ...(commands === 'run' ? { commands: recipe.folder } : {}),
        ...(options.signal ? { signal: options.signal } : {}),
      },
      async (executed) => {
        const made = await describe(prepared, executed, { digests: true, sha256: false, ...options })
        if (lock) for (const lineage of made) checkLocked(lock, recipe, lineage.models)
        for (const [index, lineage] of made.entries())
          lineages.set(plan.outputs.indexOf(executed.plan.outputs[index]!), lineage)
        return made.map((lineage, index) => {
          const text = lineageText(lineage)
          return { lineage: text, card: modelCard(lineage, text, path.basename(executed.plan.outputs[index]!.path)) }
        })
      },
    )
  }
  const seconds = (performance.now() - started) / 1000
  listen({ kind: 'end', seconds })
  const outputs = plan.outputs.map(({ files, keep }, index) => {
    return {
      path: bindings.outputs[index]!,
      lineagePath: lineagePathOf(plan, bindings, index),
      lineage: lineages.get(index)!,
      bytes: keep ? files.reduce((sum, file) => sum + file.size, 0) : 0,
    }
  })
  return { outputs, seconds }
}

/** A resume goes on with unfinished work; a whole output of another plan is not its to replace. */
async function refuseOther(output: string, force: boolean): Promise<void> {
  if (!force && (await exists(output)))
    throw fault('output-exists', `${output}: exists already, and is not what this recipe makes`, '--force replaces it')
}

/** Whoever runs a recipe that somebody else wrote has to agree to its commands. */
function refuseCommands(recipe: Recipe): void {
  const written = [...recipe.outputs, ...recipe.steps.filter((step) => step.kind === 'interpolate')]
  const places = new Map(
    written.flatMap(({ evaluate }) => (evaluate ? [[JSON.stringify(evaluate.at), evaluate] as const] : [])),
  )
  if (places.size === 0) return
  throw new Fault(
    [...places.values()].map(({ command, at }) => ({
      severity: 'error',
      code: 'needs-commands',
      message: `the recipe runs a command: ${command.join(' ')}`,
      place: recipe.placeOf(at, 'key'),
      hint: 'read what it does, then give --allow-commands',
    })),
  )
}

function lineagePathOf(plan: Plan, { outputs }: Bindings, index: number): string {
  const { layout } = plan.outputs[index]!
  const output = outputs[index]!
  return path.join(layout === 'folder' ? output : path.dirname(output), lineageName(layout, output))
}

/** The lineage of an output that an earlier run of this very plan finished: then a resume has nothing left to do for it. */
async function finishedBefore(plan: Plan, bindings: Bindings, index: number): Promise<Lineage | undefined> {
  const file = lineagePathOf(plan, bindings, index)
  const { path: shown, keep } = plan.outputs[index]!
  try {
    if (keep) await openCheckpoint(shown, bindings.outputs[index]!)
    const lineage = parseLineage(await readFile(file, 'utf8'), file)
    const { point } = plan.outputs[index]!
    const same = lineage.plan.digest === plan.digest && lineage.output.point?.name === point?.name
    return same && (lineage.output.dropped === true) === !keep ? lineage : undefined
  } catch {
    return undefined
  }
}

/** What says how an adapter is applied; undefined of a model that only lies beside one. */
const adapterFile = ({ adapterFile, tensors }: Checkpoint): Uint8Array | undefined =>
  [...tensors.keys()].some(isFactor) ? adapterFile : undefined

async function describe(
  { recipe, bindings, models }: Prepared,
  executed: Executed,
  { digests: wanted, sha256: whole }: Required<Pick<RunOptions, 'digests' | 'sha256'>>,
): Promise<Lineage[]> {
  const { plan } = executed
  const hash = (bytes: Uint8Array) => bytesDigest(executed.kernels, bytes)
  const sums = async (files: readonly string[]) =>
    whole ? await Promise.all(files.map((file) => sha256OfFile(file))) : undefined
  const inputs = await sums(bindings.files)
  const outputs: RunDigests['outputs'][number][] = []
  for (const [index, { tensors, beside, files, evaluations }] of executed.outputs.entries()) {
    const output = plan.outputs[index]!
    const written = await sums(files)
    outputs.push({
      tensors,
      files: output.files.map(({ header }, file) => {
        const own = output.tensors
          .map((tensor, index) => ({ ...tensor, index }))
          .filter((tensor) => tensor.file === file)
        const inOrder = own.sort(byPlace).map(({ index }) => tensors[index]!)
        return fileDigest(sha256(headerBytes(header)), inOrder, hash)
      }),
      others: beside,
      ...(written ? { sha256: written } : {}),
      ...(evaluations ? { evaluations } : {}),
    })
  }
  const configs = [...models].flatMap(([name, { checkpoint }]) => {
    const bytes = adapterFile(checkpoint)
    if (!bytes) return []
    const file = { name: ADAPTER_CONFIG, size: bytes.length, digest: wanted ? hash(bytes) : null }
    return [[name, whole ? { ...file, sha256: sha256(bytes) } : file] as const]
  })
  const digests: RunDigests = {
    beside: new Map(configs),
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
    buildLineage({
      plan,
      recipe,
      output,
      digests,
      steps: executed.steps,
      scopes: executed.scopes,
      version: VERSION,
      bytesDigest: hash,
    }),
  )
}

/** Pins the models that a recipe uses: the text of its lock, and where it belongs. */
export async function lock(file: string, options: LoadOptions & FetchOptions & { readonly threads?: number } = {}) {
  const { recipe, models, diagnostics } = await plan(file, options)
  const lock = await makeLock(recipe, models, options)
  return { path: lockPath(file), lock, text: lockText(lock), diagnostics }
}
