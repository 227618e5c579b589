import { formatOf, isUpdate } from '../../adapters/index.js'
import { rankMisfit, report } from '../../adapters/misfit.js'
import type { Reporter } from '../../adapters/types.js'
import type { Checkpoint } from '../../checkpoints/types.js'
import { quote } from '../../core/suggest.js'
import type { Value, ValueTensor } from '../../expr/values.js'
import type { Faults } from '../../language/faults.js'
import type { Recipe } from '../../recipe/types.js'
import { usesOf } from '../../recipe/uses.js'
import { kindOf } from '../../steps/index.js'
import type { ReadAdapter } from '../../steps/types.js'
import { mainStored } from '../../views/stored.js'
import { adapterFiles } from './application.js'
import { counting } from './counting.js'

type Config = Readonly<Record<string, unknown>>

/** The configuration of a value that is a PEFT adapter and is written as one; undefined for any other value. */
export function ownAdapter(
  { origin, tensors }: Value,
  checkpoints: ReadonlyMap<string, Checkpoint>,
): Config | undefined {
  const config = checkpoints.get(origin)?.adapter
  return config && [...tensors.keys()].some(isUpdate) ? config : undefined
}

/**
 * Reads the adapters that steps use without a model. `wrong`: steps that have an error.
 * Errors: those of the adapter's format; `adapter-alone` if a step uses adapters and models, `adapter-step` if a step can't
 * work on adapters, `adapter-rank`.
 */
export function adaptersAmong(
  recipe: Recipe,
  values: ReadonlyMap<string, Value>,
  checkpoints: ReadonlyMap<string, Checkpoint>,
  faults: Faults,
): { readonly adapters: ReadonlyMap<string, ReadAdapter>; readonly wrong: ReadonlySet<string> } {
  const used = new Set(recipe.steps.flatMap(usesOf))
  const known = new Map<string, ReadAdapter | undefined>()
  for (const [name, value] of values) {
    const source = recipe.models.get(name)!
    if (source.companion || source.lora !== undefined || !used.has(name)) continue
    const config = ownAdapter(value, checkpoints)
    const checkpoint = checkpoints.get(name)!
    const files = { ...adapterFiles(value.tensors, checkpoint), config }
    const format = formatOf(files)
    if (!format) {
      if (lacksConfig(recipe, value)) known.set(name, refuseAlone(recipe, name, faults))
      continue
    }
    const reporter = counting(faults, name, recipe.placeOf(source.at))
    const content = format.read(files, undefined, reporter)
    if (content) checkRanks(content, reporter)
    const normsOf = ({ expr }: ValueTensor): string | undefined =>
      expr.kind === 'read' ? checkpoint.norms?.get(mainStored(expr.view).tensor) : undefined
    known.set(name, content && { content, config, format: format.name, normsOf })
    reporter.close()
  }
  const adapters = new Map([...known].flatMap(([name, adapter]) => (adapter ? [[name, adapter] as const] : [])))
  return { adapters, wrong: wrongSteps(recipe, known, faults) }
}

/** Whether a step computes on factors of adapters as if they were weights. A copy of one model keeps them as they are. */
const lacksConfig = ({ steps }: Recipe, { name, tensors }: Value): boolean =>
  [...tensors.keys()].some(isUpdate) &&
  steps.some((step) => usesOf(step).includes(name) && new Set(usesOf(step)).size > 1)

function refuseAlone(recipe: Recipe, name: string, faults: Faults): undefined {
  faults.error(
    'no-adapter',
    `${quote(name)} has the factors of an adapter of PEFT but no adapter_config.json, which scales them`,
    recipe.placeOf(recipe.models.get(name)!.at),
    'put its adapter_config.json beside it: averages of factors are not averages of what adapters do',
  )
}

function checkRanks({ updates }: ReadAdapter['content'], reporter: Reporter): void {
  for (const { module, kind, parts, rank } of updates) {
    const stored = parts.a?.shape[0]
    // The factors of a stack of experts have the rank once per expert.
    const fits =
      rank === undefined || stored === undefined || (kind === 'experts' ? stored % rank : stored - rank) === 0
    if (!fits) report(rankMisfit(stored, rank), module, reporter)
  }
}

/** Steps that use adapters and can't: with an error, or with an adapter that has one. */
function wrongSteps(recipe: Recipe, known: ReadonlyMap<string, ReadAdapter | undefined>, faults: Faults): Set<string> {
  const wrong = new Set<string>()
  /** Steps whose results are adapters. */
  const results = new Set<string>()
  for (const step of recipe.steps) {
    const used = [...new Set(usesOf(step))]
    const adapters = used.filter((name) => known.has(name))
    const [made] = used.filter((name) => results.has(name))
    if (adapters.length === 0 && made === undefined) continue
    results.add(step.name)
    const [first] = adapters
    const [model] = used.filter((name) => !known.has(name) && !results.has(name))
    const place = recipe.placeOf(step.at, 'key')
    const refuse = (code: 'adapter-alone' | 'adapter-step', message: string, hint: string): void => {
      wrong.add(step.name)
      faults.error(code, message, place, hint)
    }
    const { takesAdapters, kind } = kindOf(step)
    if (model !== undefined)
      refuse(
        'adapter-alone',
        `${quote(first ?? made!)} is an adapter and ${quote(model)} is a model: they have no tensors in common`,
        first === undefined
          ? 'write the adapter to an output, and apply it in another recipe: {path: BASE, lora: ADAPTER}'
          : `apply it to its base: ${first}: {path: BASE, lora: ${recipe.models.get(first)!.reference}}; adapters alone need no base`,
      )
    else if (!takesAdapters)
      refuse(
        'adapter-step',
        `${quote(first ?? made!)} is an adapter, and a step of the kind ${kind} works on models`,
        'apply the adapter to its base, {path: BASE, lora: ADAPTER}, or merge adapters with merge and weights',
      )
    else if (made !== undefined)
      refuse(
        'adapter-step',
        `${quote(made)} is a merge of adapters, whose factors are known only when it is written`,
        'merge all adapters in one step, or write the first result to an output and use it in another recipe',
      )
    else if (adapters.some((name) => !known.get(name))) wrong.add(step.name)
  }
  return wrong
}
