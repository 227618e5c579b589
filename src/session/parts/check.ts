/** Checks parts before they wait in a cluster's queue: what one of them, or the end, would refuse. */
import { availableParallelism } from 'node:os'
import path from 'node:path'
import { type Diagnostic, Fault, fault, hasErrors } from '../../core/diagnostics.js'
import { addressIn } from '../../core/names/fileNames.js'
import { quote } from '../../core/suggest.js'
import { counted, formatCount } from '../../core/words.js'
import { threadsWithin } from '../../execute/budget.js'
import { windowMode } from '../../execute/windowMode.js'
import { type OutputAddress, outputAddress } from '../../language/addresses.js'
import type { Path } from '../../language/types.js'
import { modelsOf } from '../../plan/origins.js'
import { mostParts } from '../../plan/parts.js'
import type { Plan } from '../../plan/types.js'
import type { Loaded } from '../../recipe/load.js'
import { refuseCommands } from '../checks/commands.js'
import { openDestination } from '../destinations/open.js'
import type { Reach } from '../destinations/pathSummaries.js'
import { addressOf } from '../destinations/places.js'
import { refusePermutationFiles } from '../permutationFiles.js'
import { type PlanOptions, type Prepared, plan as planRecipe } from '../plan.js'
import { trustOf } from '../proof/signedLock.js'
import { load, type RecipeSource } from '../recipe.js'
import { type RunOptions, refuseDigests } from '../run.js'
import { plannedPaths, refuseSummaries } from '../summaries.js'
import { refuseChecksums, withChecksums } from '../sums/checksums.js'
import { digestsOf } from '../sums/digests.js'
import { isPublishing } from './arrived.js'
import { meetingPlace, storeOf } from './place.js'
import { partsIn, refuseOtherCount, refuseOutputs } from './work.js'

/** How the parts will run. */
export type CheckOptions = PlanOptions &
  Pick<
    RunOptions,
    'threads' | 'memory' | 'work' | 'force' | 'commands' | 'digests' | 'sha256' | 'checksums' | 'signal'
  > & {
    /** False: check only the recipe's text, because its models are not on this machine. Default: true. */
    readonly models?: boolean
    /** Whether parts can have other credentials than this machine. Default: false. */
    readonly elsewhere?: boolean
    /** False: parts see no file of this machine except the recipe. Default: true. */
    readonly files?: boolean
  }

/** Credentials that a machine of a cluster can have. */
const CREDENTIALS: readonly string[] = ['hub-login', 's3-credentials']

/**
 * Checks a recipe and plans it, and checks everything that `runPart` and `finishParts` check before they read tensors. Writes nothing.
 * Returns warnings, and notes about what could not be checked here.
 *
 * @throws the errors of `plan`, and those of `runPart` and `finishParts` about commands, outputs, memory and the work folder
 * @throws `bad-value` if there are more parts than tensors
 */
export async function checkParts(
  source: RecipeSource,
  parts: number,
  options: CheckOptions = {},
): Promise<{ readonly diagnostics: readonly Diagnostic[]; readonly notes: readonly string[] }> {
  const { commands = 'refuse', files = true } = options
  if (!files) refuseFiles(source, options)
  if (options.models === false) {
    const { recipe, diagnostics } = load(source, options)
    if (!recipe || hasErrors(diagnostics)) throw new Fault(diagnostics)
    if (commands === 'refuse') refuseCommands(recipe)
    trustOf(options)
    storeOf(options.work, recipe.outputs)
    return { diagnostics, notes: [] }
  }
  const prepared = withChecksums(await planRecipe(source, options), options.checksums ?? false)
  refuseDigests(prepared, digestsOf(options))
  if (commands === 'refuse') refuseCommands(prepared.recipe)
  refuseTooMany(prepared.plan, parts)
  refuseMemory(prepared.plan, options)
  const notes = await refusePlaces(prepared, parts, options)
  return { diagnostics: prepared.diagnostics, notes }
}

/** What parts cannot read or write without files in common. Errors: `contradiction`, `missing-flag`, and those of files that steps read. */
function refuseFiles(source: RecipeSource, options: CheckOptions): void {
  const { recipe, diagnostics } = loadAlone(source, options)
  if (!recipe) throw new Fault(diagnostics)
  const refused = (what: string, at: Path, hint: string): Diagnostic => ({
    ...{ severity: 'error', code: 'contradiction', place: recipe.placeOf(at), hint },
    message: `${what}: the parts see no file of this machine`,
  })
  const models = modelsOf(recipe).flatMap((name) => {
    const { origin, at, reference } = recipe.models.get(name)!
    const hint = 'use models on the hub or in a store, or a volume that all parts see'
    return origin === 'path' ? [refused(`the model ${quote(reference)} is a path`, at, hint)] : []
  })
  const outputs = recipe.outputs.flatMap(({ path: written, at }) => {
    const hint = 'write hf:org/name or s3://bucket/prefix, or use a volume that all parts see'
    return outputAddress(written) ? [] : [refused(`the output ${quote(written)} is a path`, [...at, 'path'], hint)]
  })
  if (models.length + outputs.length > 0) throw new Fault([...models, ...outputs])
  if (options.work === undefined || addressIn(options.work) === undefined)
    throw fault(
      'missing-flag',
      'without files in common, parts need a place in a store',
      'write --work s3://bucket/prefix',
    )
}

/** The recipe as it would be in a folder with nothing else. */
function loadAlone(source: RecipeSource, options: CheckOptions): Loaded {
  const loaded = load(source, options)
  if (!loaded.recipe || typeof source !== 'string') return loaded
  const { text } = loaded.recipe
  const alone = path.join(path.parse(process.cwd()).root, 'alone', path.basename(source))
  return load(alone, { ...options, name: source, text })
}

/** Some parts would have nothing to do. Error: `bad-value`. */
function refuseTooMany(plan: Plan, parts: number): void {
  const most = mostParts(plan)
  if (parts <= most) return
  throw fault(
    'bad-value',
    `${formatCount(parts)} parts are too many: the plan has ${counted(most, 'tensor')}`,
    `write at most ${formatCount(most)} parts`,
  )
}

/** Error: `memory-too-small`. */
function refuseMemory(plan: Plan, { threads = availableParallelism(), memory }: CheckOptions): void {
  if (memory !== undefined) threadsWithin(plan, threads, memory, windowMode())
}

/** Errors: those of outputs that exist already, and of a work folder of other parts. */
async function refusePlaces(prepared: Prepared, parts: number, options: CheckOptions): Promise<string[]> {
  const { plan, bindings, recipe } = prepared
  const { force = false, signal } = options
  const reach: Reach = { heads: new Map(), notice: () => {}, signal }
  const paths = plannedPaths(plan, bindings.outputs, recipe, reach)
  const refused: Diagnostic[] = []
  for (const check of [
    () => refuseOutputs(prepared, force),
    () =>
      refuseSummaries(
        paths.filter(({ remote }) => !remote),
        plan,
        { force, resume: true },
      ),
    () => refuseChecksums(plan, bindings.outputs, { force, resume: true }),
    () => refusePermutationFiles(plan, bindings.outputs, () => false, { force, resume: true }),
  ])
    await check().catch((error: unknown) => {
      if (!(error instanceof Fault)) throw error
      refused.push(...error.diagnostics)
    })
  if (refused.length > 0) throw new Fault(refused)
  let publishing = false
  const work = async (): Promise<void> => {
    const place = await meetingPlace(prepared, options.work)
    const bound = await partsIn(place, plan)
    if (bound !== undefined) refuseOtherCount(place, bound, parts)
    publishing = bound !== undefined && (await isPublishing(place))
  }
  const places = plan.outputs.flatMap((output) => {
    const address = addressOf(output)
    const begin = async (to: OutputAddress): Promise<void> => {
      const destination = await openDestination(output, to, { force, notice: () => {} })
      await destination.begin({ receipts: [], publishing, inParts: true }, signal)
    }
    return address ? [{ shown: output.path, begin: () => begin(address) }] : []
  })
  const summaries = paths.flatMap(({ folder, remote, evaluated }) =>
    remote && evaluated ? [{ shown: folder, begin: () => remote.refuse(plan, { force, resume: true }) }] : [],
  )
  const notes: string[] = []
  for (const { shown, begin } of [{ shown: options.work ?? 'the work folder', begin: work }, ...places, ...summaries])
    await begin().catch((error: unknown) => {
      if (!isWithout(error) || options.elsewhere !== true) throw error
      notes.push(`${shown} is not checked: this machine has no credentials for it`)
    })
  return notes
}

/** Whether an error is only about credentials. */
const isWithout = (error: unknown): boolean =>
  error instanceof Fault && error.diagnostics.every(({ code }) => CREDENTIALS.includes(code))
