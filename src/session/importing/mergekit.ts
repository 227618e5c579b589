/** Converts mergekit configurations. Their filters need the tensor names of the models. */
import path from 'node:path'
import { isUpdate } from '../../adapters/index.js'
import type { Checkpoint } from '../../checkpoints/types.js'
import { type Diagnostic, Fault, fault, hasErrors } from '../../core/diagnostics.js'
import { hasRows } from '../../networks/tied.js'
import { modelsOf } from '../../plan/origins.js'
import { type Loaded, type LoadOptions, loadRecipe } from '../../recipe/load.js'
import { printRecipe, relocate } from '../../recipe/mergekit/print.js'
import type { OpenModel } from '../opened/models.js'

/** Loads a recipe or a mergekit configuration. `needed` false: a model that cannot be opened is a warning. */
export async function loadKnowing(file: string, options: LoadOptions, open: OpenModel, needed = true): Promise<Loaded> {
  const first = loadRecipe(file, { ...options, strict: false })
  const { recipe } = first
  const adapters = first.conversion ? undefined : await adaptersIn(first, open)
  if (adapters) return loadRecipe(file, { ...options, adapters })
  if (!first.conversion || !recipe) return options.strict ? loadRecipe(file, options) : first
  const opened = await Promise.all(modelsOf(recipe).map((name) => open(recipe, name)))
  const diagnostics = opened.flatMap((model) => model.diagnostics)
  if (hasErrors(diagnostics)) {
    if (needed) return { conversion: first.conversion, diagnostics: [...first.diagnostics, ...diagnostics] }
    const loaded = options.strict ? loadRecipe(file, options) : first
    const told = diagnostics.map((diagnostic) => ({ ...diagnostic, severity: 'warning' as const }))
    return { ...loaded, diagnostics: [...loaded.diagnostics, ...told] }
  }
  const known = new Map<string, readonly string[]>()
  const rows = new Map<string, number>()
  for (const { name, model } of opened)
    if (model) {
      const { reference } = recipe.models.get(name)!
      const { tensors } = model.checkpoint
      known.set(reference, [...tensors.keys()])
      const embedding = [...tensors].find(([tensor]) => hasRows(tensor))
      if (embedding) rows.set(reference, embedding[1].shape[0] ?? 0)
    }
  const loaded = loadRecipe(file, { ...options, known, rows })
  const merged = opened.flatMap(({ name, model }) => (model && isAdapter(model.checkpoint) ? [name] : []))
  // A run says so for the step.
  if (needed || merged.length === 0) return loaded
  return { ...loaded, diagnostics: [...loaded.diagnostics, exactly(merged)] }
}

/** Other tools average the factors of adapters, which has another result. */
const exactly = (adapters: readonly string[]): Diagnostic => ({
  severity: 'warning',
  code: 'adapter-factors',
  message: `${adapters.join(', ')}: terge merges what adapters do, exactly, and not their factors A and B`,
  hint: 'the ranks add up: write rank: N in merge for a smaller result',
})

const isAdapter = ({ adapter, tensors }: Checkpoint): boolean =>
  adapter !== undefined || [...tensors.keys()].some(isUpdate)

/** For a recipe that lacks a base: the models that are adapters, which need none. Undefined if none are. */
async function adaptersIn({ draft, diagnostics }: Loaded, open: OpenModel): Promise<ReadonlySet<string> | undefined> {
  if (!draft || !diagnostics.some(({ code }) => code === 'missing-base')) return undefined
  const names = [...draft.models.values()].filter(({ lora, companion }) => lora === undefined && !companion)
  const opened = await Promise.all(names.map(({ name }) => open(draft, name)))
  const adapters = opened.flatMap(({ name, model }) => (model && isAdapter(model.checkpoint) ? [name] : []))
  return adapters.length > 0 ? new Set(adapters) : undefined
}

/** How a mergekit configuration is converted. */
export interface ImportOptions {
  /** Whether settings that mergekit ignores are errors. Default: they are warnings. */
  readonly strict?: boolean
  /** The folder that the recipe's paths are relative to. Default: the configuration's folder. */
  readonly folder?: string
}

/**
 * Converts a mergekit configuration to the text of a recipe. The text also has features that this version cannot run. Throws a
 * `Fault` if the file is not a mergekit configuration or has errors.
 */
export async function importRecipe(
  file: string,
  { strict = false, folder }: ImportOptions,
  open: OpenModel,
): Promise<{ text: string; diagnostics: readonly Diagnostic[] }> {
  const { conversion, diagnostics } = await loadKnowing(file, { strict }, open, false)
  // Without the models' tensor names the recipe could not list the modules.
  const told = diagnostics
    .filter(({ code }) => code !== 'not-in-this-version')
    .map((one) => (one.code === 'unknown-module' ? { ...one, severity: 'error' as const } : one))
  if (!conversion && !hasErrors(diagnostics))
    throw fault(
      'not-mergekit',
      `${file} is not a mergekit configuration: it has no merge_method`,
      'it is already a terge recipe: run it with terge run',
    )
  if (!conversion?.root || hasErrors(told)) throw new Fault(told)
  const from = path.dirname(path.resolve(file))
  const root = relocate(conversion.root, from, folder ?? from)
  const title = `Converted from the mergekit configuration ${path.basename(file)}.`
  return { text: printRecipe(root, conversion.comments, title), diagnostics: told }
}
