/** Plans recipes. Models are opened once, and planning itself reads nothing more. */

import path from 'node:path'
import { OUTPUT } from '../checkpoints/containers/index.js'
import { sameContent } from '../checkpoints/sameContent.js'
import { MODEL_SIG } from '../checkpoints/sidecarNames.js'
import { readSidecars } from '../checkpoints/sidecars.js'
import { type Checkpoint, smallFolderOf } from '../checkpoints/types.js'
import { type Diagnostic, Fault, hasErrors, type Place } from '../core/diagnostics.js'
import type { Bindings } from '../execute/types.js'
import { hasOpenRanks } from '../execute/units/survey.js'
import { type Lock, lockPath } from '../lineage/lock.js'
import { checkDraft } from '../plan/draft.js'
import type { Twin, Twins } from '../plan/models/tied.js'
import { type TwinCandidate, twinCandidates, twinsOf } from '../plan/models/twins.js'
import { cutBy, modelsOf } from '../plan/origins.js'
import { planRecipe } from '../plan/plan.js'
import { tokenizersNeeded } from '../plan/tokens/otherTokens.js'
import { TOKENIZER_FILES } from '../plan/tokens/tokenizer.js'
import type { Plan } from '../plan/types.js'
import { type Loaded, type LoadOptions, loadRecipe } from '../recipe/load.js'
import type { Recipe } from '../recipe/types.js'
import type { PlanContext } from '../steps/types.js'
import type { InputState } from '../storage/local/inputStates.js'
import { CLOSED, openTokenizers, type Tokenizers } from '../tokenizers/opened.js'
import { overlappingAddresses } from './checks/addresses.js'
import { unsoundCopies } from './checks/copies.js'
import { heapProblems } from './checks/heap.js'
import { misplacedOutputs } from './checks/outputPlaces.js'
import { withWork } from './destinations/places.js'
import { differentTerms } from './history/records.js'
import { type ImportOptions, importRecipe, loadKnowing } from './importing/mergekit.js'
import { inputsOf, openedStates } from './opened/inputs.js'
import { makeOpener, type OpenedModel, type OpenModel } from './opened/models.js'
import { lockDifferences, lockedAway, pinOf } from './proof/locking.js'
import { signedInputs } from './proof/signedInputs.js'
import { readSignedLock, trustOf, uncheckedLock } from './proof/signedLock.js'
import type { SignedInputs, Trust } from './proof/trust.js'
import { type NamedRecipe, namedRecipe, type RecipeSource } from './recipe.js'
import { searchProblems } from './search/space.js'

type RankOf = PlanContext['rankOf']

/** How to read a recipe, and which versions of its models to use. */
export interface PlanOptions extends LoadOptions {
  /** Use only the models in the recipe's lock. */
  readonly locked?: boolean
  /** By model: the commit to use, whatever its revision refers to now. */
  readonly commits?: ReadonlyMap<string, string>
  /** The path of the public key in PEM that the lock, or the models, must be signed with. */
  readonly key?: string
  /** The path of certificates in PEM, in place of `key`. */
  readonly certificate?: string
  /** Refuse models that are not signed with `key`, or by `certificate`. Default: false. */
  readonly requireSigned?: boolean
}

/** How much of a recipe to check. */
export interface ValidateOptions extends LoadOptions {
  /** False: check only the text. A pattern of paths that matches nothing is then allowed. */
  readonly models?: boolean
}

/** A recipe without errors in its text, with its opened models. Planning it reads nothing more. */
export interface OpenedRecipe {
  /** The recipe as terge understood it. */
  readonly recipe: Recipe
  /** By name. */
  readonly models: ReadonlyMap<string, OpenedModel>
  /** Stored tensors that are equal to an embedding. */
  readonly twins: Twins
  /** Tokenizers of models, if the recipe needs them. */
  readonly tokenizers: Tokenizers
  /** The lock that inputs of a run must match. */
  readonly lock?: Lock
  /** Who must have signed the models. */
  readonly trust?: Trust
  /** States of the models' files when they were opened, by path. A run fails if they have changed. */
  readonly states: ReadonlyMap<string, InputState>
  /** Errors of models that could not be opened or differ from the lock, and warnings. */
  readonly diagnostics: readonly Diagnostic[]
}

/** A plan with what running it needs. */
export interface Prepared {
  /** Plain data without paths of this machine. */
  readonly plan: Plan
  /** The recipe as terge understood it. */
  readonly recipe: Recipe
  /** The absolute paths of inputs and outputs. */
  readonly bindings: Bindings
  /** By name. The run downloads missing files from the hub. */
  readonly models: ReadonlyMap<string, OpenedModel>
  /** The lock that inputs of the run must match. */
  readonly lock?: Lock
  /** The signed SHA-256 of the models' files, if the models must be signed. */
  readonly signed?: SignedInputs
  /** Warnings. */
  readonly diagnostics: readonly Diagnostic[]
  /** If ranks depend on the tensors: plans again with the ranks that were found. The plan here has upper bounds. */
  readonly withRanks?: (rankOf: RankOf) => Promise<Prepared>
}

/**
 * All errors and warnings of a recipe, in the order of its lines. Checks models' headers as far as the text is valid. The
 * result has a plan if there are no errors. Errors are values in the result: nothing is thrown for mistakes in a recipe.
 */
export async function validate(
  source: RecipeSource,
  options: ValidateOptions = {},
): Promise<{ diagnostics: readonly Diagnostic[]; plan?: Plan }> {
  const named = namedRecipe(source, options)
  if (options.models === false) {
    const { recipe, diagnostics } = loadRecipe(named.file, named.options)
    return { diagnostics: inOrder([...diagnostics.map(unlessAdapters), ...(recipe ? searchProblems(recipe) : [])]) }
  }
  const open = makeOpener()
  const started = Date.now()
  const loaded = await loadKnowing(named.file, named.options, open)
  if (!loaded.recipe) return { diagnostics: inOrder([...loaded.diagnostics, ...(await probe(loaded, open))]) }
  const { plan, diagnostics } = await planWhole((await openModels(loaded.recipe, open, started)).opened)
  const searched = searchProblems(loaded.recipe)
  const all = inOrder([...loaded.diagnostics, ...diagnostics, ...searched])
  return { diagnostics: all, ...(plan && searched.length === 0 ? { plan } : {}) }
}

/**
 * Plans a recipe from its models' headers. The plan is plain, frozen data. Its `digest` covers everything that decides the
 * bytes of the outputs. Reads no tensor data, except for at most 4 MiB per tensor that may be equal to an embedding, and alphas
 * and DoRA norms of adapters.
 *
 * @throws a `Fault` with all errors of the recipe and its models, in the order of lines: any code of the sections
 * "Recipe", "Models and files", "Hub", "S3 stores" and "Merging" of the errors
 * @throws `missing-lock` or `lock-differs` with `locked`
 * @throws `missing-signature`, `bad-signature`, `signed-files` or `bad-signing-key` with `key` or `certificate`
 */
export async function plan(source: RecipeSource, options: PlanOptions = {}): Promise<Prepared> {
  return planOpened(await openRecipe(source, options))
}

/**
 * Loads a recipe and opens its models' headers for `planOpened`, so that variants of a recipe open their models only once.
 * Errors of models are in the result.
 *
 * @throws a `Fault` with all errors of the recipe's text, such as `unknown-method`
 * @throws `missing-lock` or `bad-lock` with `locked`
 */
export async function openRecipe(source: RecipeSource, options: PlanOptions = {}): Promise<OpenedRecipe> {
  const named = namedRecipe(source, options)
  const trust = trustOf(options)
  const lockFile = lockPath(named.file)
  const lock = options.locked ? await readSignedLock(lockFile, trust) : undefined
  const unchecked = lock && !trust ? await uncheckedLock(lockFile) : []
  const { requireSigned = false } = options
  const once = async () => {
    const started = Date.now()
    const open = makeOpener((name) => {
      const pin = lock ? pinOf(lock, name) : { commit: options.commits?.get(name) }
      return requireSigned ? { ...pin, expected: [...(pin.expected ?? []), MODEL_SIG] } : pin
    })
    const { opened, wait } = await openVariant(named, { open, started, ...(lock ? { lock } : {}) })
    const diagnostics = [...unchecked, ...opened.diagnostics]
    return { opened: { ...opened, diagnostics, ...(requireSigned ? { trust: trust! } : {}) }, wait }
  }
  const { opened, wait } = await once()
  if (wait === 0) return opened
  // A file that changed at the moment it was read could have the same state before and after.
  await new Promise((resolve) => setTimeout(resolve, wait))
  return (await once()).opened
}

/** What opens models, and since when. */
export interface Opening {
  readonly open: OpenModel
  /** When the first of its files was opened. */
  readonly started: number
  readonly lock?: Lock
}

/** The same with an opener that other variants of the recipe share. `wait`: after so many milliseconds, states of files are certain. */
export async function openVariant(
  { file, options }: NamedRecipe<LoadOptions>,
  { open, started, lock }: Opening,
): Promise<{ readonly opened: OpenedRecipe; readonly wait: number }> {
  const loaded = await loadKnowing(file, options, open)
  if (!loaded.recipe) throw new Fault(inOrder([...loaded.diagnostics, ...(await probe(loaded, open))]))
  const { opened, wait } = await openModels(loaded.recipe, open, started, lock)
  return { opened: { ...opened, diagnostics: [...loaded.diagnostics, ...opened.diagnostics] }, wait }
}

/**
 * Plans a recipe whose models are open. Reads no files, except for the states of the inputs.
 *
 * @throws a `Fault` with all errors of the models, and of the recipe together with its models, such as `missing-tensor`
 */
export async function planOpened(opened: OpenedRecipe): Promise<Prepared> {
  return planRanked(opened)
}

async function planRanked(opened: OpenedRecipe, rankOf?: RankOf): Promise<Prepared> {
  const { recipe, models, lock, trust } = opened
  const { plan, bindings, diagnostics } = await planWhole(opened, rankOf)
  if (!plan || !bindings) throw new Fault(inOrder(diagnostics))
  const signed = trust && (await signedInputs({ plan, recipe, models }, trust))
  return {
    ...(signed ? { signed } : {}),
    ...{ plan, recipe, bindings, models, diagnostics: inOrder(diagnostics) },
    ...(lock ? { lock } : {}),
    ...(hasOpenRanks(plan) ? { withRanks: (found) => planRanked(opened, found) } : {}),
  }
}

/**
 * Converts a mergekit configuration to the text of a recipe, which has the same result. The diagnostics are warnings.
 *
 * @throws `not-mergekit` if the file is not a mergekit configuration
 * @throws `missing-recipe` or `unreadable-recipe` if the file cannot be read
 * @throws a `Fault` with all errors of the configuration and its models
 */
export const importMergekit = (file: string, options: ImportOptions = {}) => importRecipe(file, options, makeOpener())

/** Only the models show whether they are adapters, which need no base. */
const unlessAdapters = (one: Diagnostic): Diagnostic =>
  one.code === 'missing-base' ? { ...one, severity: 'warning', hint: `${one.hint}; adapters need none` } : one

async function openModels(
  recipe: Recipe,
  open: OpenModel,
  started: number,
  lock?: Lock,
): Promise<{ readonly opened: OpenedRecipe; readonly wait: number }> {
  const opened = await Promise.all(modelsOf(recipe).map((name) => open(recipe, name)))
  const models = new Map(opened.flatMap(({ name, model }) => (model ? [[name, model] as const] : [])))
  const diagnostics = opened.flatMap((model) => model.diagnostics)
  if (lock) for (const [name, model] of models) diagnostics.push(...(await lockDifferences(lock, recipe, name, model)))
  if (lock) diagnostics.push(...lockedAway(lock, recipe))
  const right = !hasErrors(diagnostics)
  const tokenizers = right ? await tokenizersOf(recipe, checkpointsOf(models)) : CLOSED
  const twins = right ? await tiedContent(recipe, checkpointsOf(models)) : new Map()
  const { states, wait } = await openedStates([...checkpointsOf(models).values()], started)
  return {
    opened: { recipe, models, tokenizers, twins, states, diagnostics, ...(lock ? { lock } : {}) },
    wait,
  }
}

const checkpointsOf = (models: ReadonlyMap<string, OpenedModel>): Map<string, Checkpoint> =>
  new Map([...models].map(([name, { checkpoint }]) => [name, checkpoint]))

/** The plan and the paths of its files; absent if there are errors. */
async function planWhole(
  { recipe, models, tokenizers, twins, states, diagnostics }: OpenedRecipe,
  rankOf?: RankOf,
): Promise<{ plan?: Plan; bindings?: Bindings; diagnostics: readonly Diagnostic[] }> {
  const checkpoints = checkpointsOf(models)
  if (hasErrors(diagnostics)) return { diagnostics: [...diagnostics, ...checkDraft(recipe, checkpoints, () => false)] }
  const large = heapProblems(recipe, checkpoints)
  if (large.length > 0) return { diagnostics: [...diagnostics, ...large] }
  const { plan, diagnostics: found } = planRecipe(recipe, checkpoints, { tokenizers, twins, rankOf })
  if (!plan) return { diagnostics: [...diagnostics, ...found] }
  const used = plan.models.map(({ name }) => checkpoints.get(name)!)
  const licensed = plan.models.filter(({ name }) => (recipe.models.get(name)?.companion ?? 'lora') === 'lora')
  const terms = differentTerms(licensed.map(({ name }) => [name, models.get(name)!.records ?? {}]))
  const bindings: Bindings = {
    inputs: await inputsOf(plan, used, states),
    files: used.flatMap((checkpoint) => checkpoint.files.map((file) => file.path)),
    models: used.map(smallFolderOf),
    outputs: withWork(
      plan,
      plan.outputs.map(({ spec, point, layout }) => {
        const { resolved } = recipe.outputs[spec]!
        return point ? path.join(resolved, `${point.name}${layout === 'file' ? OUTPUT.extension : ''}`) : resolved
      }),
      undefined,
    ),
  }
  const misplaced = [
    ...(await misplacedOutputs(plan, bindings.outputs, recipe, checkpoints)),
    ...overlappingAddresses(recipe, plan),
    ...(await unsoundCopies(plan, recipe, checkpoints)),
  ]
  if (misplaced.length > 0) return { diagnostics: [...diagnostics, ...found, ...misplaced] }
  return { plan, bindings, diagnostics: [...diagnostics, ...found, ...terms] }
}

/**
 * Tensors that are equal to an embedding: heads with names that terge does not know, and tied heads that an adapter saved anyway.
 * This is the only tensor data that is read before a run, at most 4 MiB per tensor. Skips models that are not downloaded yet.
 */
async function tiedContent(recipe: Recipe, checkpoints: ReadonlyMap<string, Checkpoint>): Promise<Twins> {
  const found = ({ model, tensor }: Twin) => {
    const checkpoint = checkpoints.get(model)!
    return [checkpoint, checkpoint.tensors.get(tensor)!] as const
  }
  const same: TwinCandidate[] = []
  for (const candidate of twinCandidates(recipe, checkpoints))
    if (await sameContent(found(candidate.of), found(candidate.embedding))) same.push(candidate)
  return twinsOf(same)
}

/** The tokenizers that planning needs. Equal texts are kept once. */
async function tokenizersOf(recipe: Recipe, checkpoints: ReadonlyMap<string, Checkpoint>): Promise<Tokenizers> {
  const held = new Map<string, string>()
  const once = (text: string): string => {
    const before = held.get(text) ?? text
    held.set(before, before)
    return before
  }
  const read = new Map<string, Readonly<Record<string, string>>>()
  for (const name of tokenizersNeeded(recipe, checkpoints)) {
    const texts = Object.entries(await readSidecars(checkpoints.get(name)!, TOKENIZER_FILES))
    read.set(name, Object.fromEntries(texts.map(([file, text]) => [file, once(text)])))
  }
  return openTokenizers(read, cutBy(recipe).length > 0, (name) => checkpoints.get(name)?.config?.model_type)
}

/** Checks local models although the recipe's text has errors, so that all errors are reported together. */
async function probe({ draft, isWrong }: Loaded, open: OpenModel): Promise<readonly Diagnostic[]> {
  if (!draft || !isWrong) return []
  const names = modelsOf(draft).filter((name) => {
    const source = draft.models.get(name)
    return source?.origin === 'path' && source.reference !== ''
  })
  const opened = await Promise.all(names.map((name) => open(draft, name)))
  const models = opened.flatMap(({ name, model }) => (model ? [[name, model.checkpoint] as const] : []))
  return [...opened.flatMap(({ diagnostics }) => diagnostics), ...checkDraft(draft, new Map(models), isWrong)]
}

function inOrder(diagnostics: readonly Diagnostic[]): Diagnostic[] {
  const key = (place: Place | undefined) => (place ? place.line * 1e6 + place.column : Number.POSITIVE_INFINITY)
  return [...diagnostics].sort((a, b) => key(a.place) - key(b.place))
}
