/** What a change of a recipe does: its plan, compared with that of a revision, of another recipe or of a plan file. */
import { statSync } from 'node:fs'
import path from 'node:path'
import { type Diagnostic, Fault, fault } from '../../core/diagnostics.js'
import { toJson } from '../../core/json/print.js'
import { quote } from '../../core/suggest.js'
import { modelsOf } from '../../plan/origins.js'
import type { Recipe } from '../../recipe/types.js'
import { compareSides } from '../../review/compare.js'
import { asFile, checked, isPlan, readPlan } from '../../review/planFile.js'
import { planSide } from '../../review/sides/plan.js'
import { recipeSide } from '../../review/sides/recipe.js'
import type { Side } from '../../review/sides/types.js'
import type { Difference } from '../../review/types.js'
import { type OldFiles, oldFiles } from '../../storage/git/oldFiles.js'
import { openRevision } from '../../storage/git/revision.js'
import { settle } from '../../storage/local/places.js'
import { FileProblem, readRegularSync } from '../../storage/local/regular.js'
import { planLicenses } from '../history/licenses.js'
import { openRecipe, type Prepared, planOpened } from '../plan.js'
import { planAsData } from '../planning/view.js'
import { load } from '../recipe.js'
import { marksOf, namedMarks } from './marks.js'
import { recipeChanges } from './recipeChanges.js'

/** How to compare. */
export interface AgainstOptions {
  /** `KEY=VALUE` overrides, applied in this order. */
  readonly set?: readonly string[]
  /** An output path, relative to the working folder. Replaces the path in both recipes. */
  readonly output?: string
  /** Whether settings that mergekit ignores are errors. */
  readonly strict?: boolean
  /** False: compare only the texts of the recipes. Nothing is then said about bytes. */
  readonly models?: boolean
}

/** The earlier recipe: its text, and where its files are. */
interface Earlier {
  /** For people: `main:recipe.yml`. */
  readonly name: string
  readonly commit?: string
  /** Gives the folder that its paths are relative to. */
  readonly file: string
  /** Absent if the revision has no such file. */
  readonly text?: string
  readonly old?: OldFiles
}

/**
 * Compares the plan of a recipe with an earlier one: what changes from `earlier` to `recipe`. `earlier` is another recipe, a plan as
 * `terge plan --json` prints it, or a revision of the git repository that has the recipe: `main`, or `main:path` for another path. With
 * a revision, the recipe and all files that it refers to are those of the revision, as far as git has them. Nothing of the repository
 * is run.
 *
 * @throws the errors of `plan` for `recipe`
 * @throws `bad-revision` if `earlier` is neither a file nor a revision
 * @throws `bad-plan` if it is a file that is neither a recipe nor a plan
 */
export async function comparePlans(recipe: string, earlier: string, options: AgainstOptions = {}): Promise<Difference> {
  const { models = true, ...rest } = options
  const file = settle(path.resolve(recipe))
  const source = earlierOf(file, earlier)
  try {
    if (source.text !== undefined && isPlan(source.text)) return await againstPlan(recipe, source, rest)
    return await (models ? againstRecipe : againstText)({ recipe, file }, source, rest)
  } finally {
    source.old?.remove()
  }
}

/** The largest plan that is read. */
const MOST = 2 ** 29 - 1

/** A commit in full: never a file, whoever adds one of that name. */
const COMMIT = /^([0-9a-f]{40}|[0-9a-f]{64})(:|$)/
/** Digits of a commit that people read. */
const SHORT = 7
/** Never a revision. */
const IS_PATH = /^(\.{0,2}[\\/]|[A-Za-z]:[\\/])/

/** Whoever adds a file called `main` must not decide what `--against main` means. Error: `bad-revision`. */
function refuseAmbiguous(file: string, earlier: string): void {
  try {
    openRevision(path.dirname(file), earlier.split(':')[0]!)
  } catch (error) {
    if (error instanceof Fault) return
    throw error
  }
  throw fault(
    'bad-revision',
    `${quote(earlier)} is both a file and a revision`,
    `write ./${earlier} for the file, or refs/heads/${earlier} for the branch`,
  )
}

function earlierOf(file: string, earlier: string): Earlier {
  const isFile = !COMMIT.test(earlier) && statSync(earlier, { throwIfNoEntry: false })?.isFile()
  if (isFile && !IS_PATH.test(earlier)) refuseAmbiguous(file, earlier)
  if (isFile) {
    try {
      return { name: earlier, file: path.resolve(earlier), text: readRegularSync(earlier, MOST).toString('utf8') }
    } catch (error) {
      if (!(error instanceof FileProblem)) throw error
      throw fault('bad-plan', `${earlier} ${error.message}`, 'write a recipe, a plan, or a revision')
    }
  }
  const colon = earlier.indexOf(':')
  const [written, other] = colon < 0 ? [earlier] : [earlier.slice(0, colon), earlier.slice(colon + 1)]
  const revision = openRevision(path.dirname(file), written!)
  const name = COMMIT.test(written!) ? written!.slice(0, SHORT) : written!
  const within = other ?? revision.within(file)
  const [found] = within === undefined || within === '' ? [] : revision.entries([within])
  const common = { commit: revision.commit, file: path.join(revision.root, ...(within ?? '').split('/')) }
  if (!found?.mode.startsWith('100') || found.path !== within) {
    if (other !== undefined)
      throw fault('bad-revision', `${name} has no file ${other}`, 'write the path from the root of the repository')
    return { name, ...common }
  }
  const old = oldFiles(revision)
  return { name: `${name}:${within}`, ...common, text: revision.content(found).toString('utf8'), old }
}

interface Later {
  /** As written. */
  readonly recipe: string
  /** Its real path. */
  readonly file: string
}

type Options = Omit<AgainstOptions, 'models'>

async function againstPlan(recipe: string, { name, text }: Earlier, options: Options): Promise<Difference> {
  const earlier = readPlan(text!, name)
  const { plan } = await planOpened(await openRecipe(recipe, options))
  const later = asFile(toJson(planAsData(plan)))
  return checked(name, () => {
    const [a, b] = [namedMarks(earlier), namedMarks(later)]
    const certain = a.certain && b.certain
    const notes = certain
      ? []
      : [
          `${name} does not record what is in files of models on this machine, so the bytes are the same only if these files are`,
        ]
    return compareSides(planSide(earlier, a.marks, { name }), planSide(later, b.marks, { name: recipe }), {
      ...{ kind: 'plan', certain, notes },
    })
  })
}

async function againstRecipe(later: Later, source: Earlier, options: Options): Promise<Difference> {
  const prepared = await planOpened(await openRecipe(later.recipe, options))
  if (source.text === undefined) return allNew(source, prepared, later.recipe)
  const earlier = await earlierPlan(source, options)
  if (!('prepared' in earlier)) return withoutPlans(later, prepared.recipe, source, earlier)
  const { old } = source
  // Where the two sides have different files for one path, the content is read.
  const originals = new Set(
    earlier.prepared.bindings.files.flatMap((file) => (old?.isOld(file) ? [old.original(file)] : [])),
  )
  const isRead = (file: string): boolean => originals.has(settle(file)) || old?.isOld(file) === true
  const a = planSide(earlier.prepared.plan, await marksOf(earlier.prepared, isRead), namesOf(source))
  const b = planSide(prepared.plan, await marksOf(prepared, isRead), { name: later.recipe })
  const found = compareSides(a, b, {
    ...{ kind: 'plan', certain: true },
    recipe: recipeChanges(source.text, prepared.recipe.text),
  })
  const isOtherText = found.bytes === 'same' && source.text !== prepared.recipe.text
  const text = isOtherText ? ['the lineage and the model card record the text of the recipe, which differs'] : []
  return { ...found, notes: [...text, ...otherTerms(earlier.prepared, prepared)] }
}

/** A recipe that the revision does not have: all of its models, steps and outputs come. */
async function allNew(source: Earlier, prepared: Prepared, name: string): Promise<Difference> {
  const later = planSide(prepared.plan, await marksOf(prepared, () => false), { name })
  const found = compareSides(nothingOf(source), later, {
    ...{ kind: 'plan', certain: true, notes: [newNote(source)] },
    recipe: recipeChanges(undefined, prepared.recipe.text),
  })
  return { ...found, bytes: 'differ' }
}

const newNote = ({ name }: Earlier): string => `${name} does not have this recipe, so everything is new`

const nothingOf = (source: Earlier): Side => ({
  ...namesOf(source),
  ...{ models: new Map(), steps: new Map(), settings: new Map(), outputs: [] },
})

/** What models of both sides say of their licenses, where that differs: a change that no tensor shows. */
function otherTerms(earlier: Prepared, later: Prepared): string[] {
  const before = new Map(planLicenses(earlier).map(({ model, terms }) => [model, terms]))
  const changes = planLicenses(later).flatMap(({ model, terms }) => {
    const was = before.get(model)
    return was === undefined || was === terms ? [] : [`${model} ${was} → ${terms}`]
  })
  return changes.length > 0
    ? [`other licenses, which the lineage and the model card record: ${changes.join('; ')}`]
    : []
}

const namesOf = ({ name, commit }: Earlier): Pick<Side, 'name' | 'commit'> => ({
  name,
  ...(commit === undefined ? {} : { commit }),
})

/** Why there is no plan. */
interface NoPlan {
  readonly recipe?: Recipe
  readonly notes: readonly string[]
  readonly unreachable: Difference['unreachable']
}

/** The plan of the earlier recipe; errors in it are not errors of the comparison. */
async function earlierPlan(source: Earlier, options: Options): Promise<{ prepared: Prepared } | NoPlan> {
  const { name, text = '', old, file } = source
  const reading = { ...options, text, name, ...(old ? { place: old.place, entries: old.entries } : {}) }
  const { recipe } = load(file, reading)
  try {
    const opened = await openRecipe(file, reading)
    const lost = modelsOf(opened.recipe).filter((model) => !opened.models.has(model))
    if (lost.length > 0)
      return {
        recipe: opened.recipe,
        notes: [`not all models of ${name} can be opened, so only the recipes are compared`],
        unreachable: lost.map((model) => ({ model, why: whyLost(opened.recipe, model, opened.diagnostics, old) })),
      }
    return { prepared: await planOpened(opened) }
  } catch (error) {
    if (!(error instanceof Fault)) throw error
    const first = error.diagnostics.find(({ severity }) => severity === 'error')
    const why = `the recipe of ${name} has errors, so it has no plan: ${first?.message ?? error.message}`
    return { ...(recipe ? { recipe } : {}), notes: [why], unreachable: [] }
  }
}

function whyLost(recipe: Recipe, model: string, diagnostics: readonly Diagnostic[], old: OldFiles | undefined): string {
  const { reference, at } = recipe.models.get(model)!
  const known = old?.unreachable.get(path.resolve(recipe.folder, reference))
  if (known !== undefined) return known
  const { line } = recipe.placeOf(at, 'value')
  const own = diagnostics.filter(({ severity }) => severity === 'error')
  const found = own.find(({ message }) => message.includes(reference)) ?? own.find(({ place }) => place?.line === line)
  return (found ?? own[0])?.message ?? 'it cannot be opened'
}

/** Compares recipes without their models. */
function withoutPlans(
  { recipe: name }: Later,
  later: Recipe,
  source: Earlier,
  { recipe, notes, unreachable }: NoPlan,
): Difference {
  const a = recipe ? recipeSide(recipe, namesOf(source)) : nothingOf(source)
  const found = compareSides(a, recipeSide(later, { name }), {
    ...{ kind: 'plan', certain: true, notes },
    recipe: recipeChanges(source.text, later.text),
  })
  return { ...found, bytes: source.text === undefined ? 'differ' : 'unknown', unreachable }
}

async function againstText({ recipe }: Later, source: Earlier, options: Options): Promise<Difference> {
  const later = load(recipe, options)
  if (!later.recipe) throw new Fault(later.diagnostics)
  const { name, old } = source
  const reading = { ...options, name, ...(old ? { place: old.place, entries: old.entries } : {}) }
  const earlier = source.text === undefined ? undefined : load(source.file, { ...reading, text: source.text })
  const notes = source.text === undefined ? [newNote(source)] : ['only the texts of the recipes are compared']
  return withoutPlans({ recipe, file: recipe }, later.recipe, source, {
    ...(earlier?.recipe ? { recipe: earlier.recipe } : {}),
    ...{ notes, unreachable: [] },
  })
}
