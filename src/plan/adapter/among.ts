import { formatOf, isUpdate } from '../../adapters/index.js'
import { rankMisfit, report } from '../../adapters/misfit.js'
import { plainName } from '../../adapters/peft/tensors.js'
import type { AdapterContent, Reporter, Update } from '../../adapters/types.js'
import type { Checkpoint } from '../../checkpoints/types.js'
import { quote } from '../../core/suggest.js'
import { agree, plural } from '../../core/words.js'
import type { MergeExpr } from '../../expr/types.js'
import { sameShape, type Value, type ValueTensor } from '../../expr/values.js'
import type { Faults } from '../../language/faults.js'
import type { Recipe } from '../../recipe/types.js'
import { reachedFrom, usesOf } from '../../recipe/uses.js'
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

interface Member {
  readonly value: Value
  readonly adapter: AdapterContent
}

/**
 * Merges of adapters with each other, tensor by tensor. The result has the tensor names and the configuration of one of
 * them, its origin. If another adapter has a different scale (alpha / rank), terge multiplies its B by the ratio, so
 * that the configuration is right for the result. `origins`: for each output's source, the adapter whose configuration
 * it has.
 * Returns the names of steps that have an error.
 * Errors: those of the adapter's format; `adapter-alone` if a step uses adapters and models,
 * `adapter-rank`, `adapter-scale`, `adapter-origins` if one adapter is in results with different origins. Warnings:
 * `adapter-factors`, `adapter-modules`, `adapter-ranks`.
 */
export function joinAdapters(
  recipe: Recipe,
  origins: ReadonlyMap<string, string>,
  values: Map<string, Value>,
  checkpoints: ReadonlyMap<string, Checkpoint>,
  faults: Faults,
): ReadonlySet<string> {
  const members = new Map<string, Member | undefined>()
  for (const [name, value] of values) {
    const source = recipe.models.get(name)!
    const config = source.companion || source.lora !== undefined ? undefined : ownAdapter(value, checkpoints)
    if (!config) continue
    const reporter = counting(faults, name, recipe.placeOf(source.at))
    const files = { tensors: value.tensors, config }
    const adapter = formatOf(files)?.read(files, undefined, reporter)
    const member = adapter && { value, adapter }
    if (member) checkRanks(member, reporter)
    members.set(name, member)
    reporter.close()
  }
  const wrong = checkSteps(recipe, members, faults)
  const results = [...origins].map(([from, origin]) => ({ origin, reached: reachedFrom(from, recipe.steps) }))
  for (const [name, member] of members) {
    if (!member) continue
    const reporter = counting(faults, name, recipe.placeOf(recipe.models.get(name)!.at))
    const own = new Set(results.filter(({ reached }) => reached.has(name)).map(({ origin }) => origin))
    const read = [...own].flatMap((origin) => {
      const onto = members.get(origin)
      return onto ? [{ origin, tensors: scaledAs(member, onto, reporter) }] : []
    })
    const [first, ...others] = read
    const differing = others.find(({ tensors }) => textOf(tensors) !== textOf(first!.tensors))
    if (differing)
      reporter.error(
        'adapter-origins',
        `it is used in results with the configurations of ${first!.origin} and of ${differing.origin}, which scale or name it differently`,
        'make each result in a separate recipe',
      )
    if (first) values.set(name, { ...member.value, tensors: first.tensors })
    reporter.close()
  }
  return wrong
}

/** Equal for tensors that are read in the same way. */
const textOf = (tensors: Value['tensors']): string =>
  JSON.stringify([...tensors].map(([name, { expr }]) => [name, expr]))

function checkRanks({ adapter }: Member, reporter: Reporter): void {
  for (const { module, parts, rank } of adapter.updates)
    if (rank !== undefined && parts.a && parts.a.shape[0] !== rank)
      report(rankMisfit(parts.a.shape[0]!, rank), module, reporter)
}

/**
 * Checks the steps that use adapters. A step must not mix adapters and models. Merging several adapters is a warning,
 * since the average of factors is not the average of their products.
 */
function checkSteps(recipe: Recipe, members: ReadonlyMap<string, unknown>, faults: Faults): Set<string> {
  const wrong = new Set<string>()
  for (const step of recipe.steps) {
    const used = [...new Set(usesOf(step))].filter((name) => recipe.models.has(name))
    const adapters = used.filter((name) => members.has(name))
    const [model] = used.filter((name) => !members.has(name))
    const place = recipe.placeOf(step.at, 'key')
    if (adapters.length === 0) continue
    if (model !== undefined) {
      wrong.add(step.name)
      faults.error(
        'adapter-alone',
        `${quote(adapters[0]!)} is an adapter and ${quote(model)} is a model: they have no tensors in common`,
        place,
        `apply it to its base: ${adapters[0]}: {path: BASE, lora: ${recipe.models.get(adapters[0]!)!.reference}}`,
      )
    } else if (adapters.length > 1)
      faults.warn(
        'adapter-factors',
        'terge merges adapters factor by factor: the average of the factors is not the average of the updates',
        place,
        'for the average of the updates, apply each adapter to the base ({path: BASE, lora: ADAPTER}), merge the models, and extract an adapter',
      )
  }
  return wrong
}

/** An adapter's tensors with the names of `onto`, rescaled so that the configuration of `onto` applies to them. */
function scaledAs(member: Member, onto: Member, reporter: Reporter): Value['tensors'] {
  const { value, adapter } = member
  if (member === onto) return value.tensors
  const names = new Map([...onto.value.tensors.keys()].map((name) => [plainName(name), name]))
  const nameOf = ({ kind, module }: Update): string => `${kind} ${module}`
  const modules = new Map(onto.adapter.updates.map((update) => [nameOf(update), update]))
  const ratios = new Map<ValueTensor, number>()
  const others: string[] = []
  for (const update of adapter.updates) {
    const { kind, module, parts, scale } = update
    const own = modules.get(nameOf(update))
    if (!own) {
      if (kind === 'lora') others.push(module)
      continue
    }
    if (kind === 'lora' && !['a', 'b'].every((role) => sameShape(own.parts[role]!.shape, parts[role]!.shape)))
      reporter.warn(
        'adapter-ranks',
        `${module} has rank ${parts.a!.shape[0]}, but rank ${own.parts.a!.shape[0]} in the base adapter: terge skips it`,
        'apply each adapter to the base instead ({path: BASE, lora: ADAPTER}): the ranks may then differ',
      )
    if (Number.isFinite(scale / own.scale)) ratios.set(parts.b!, scale / own.scale)
    else
      reporter.error(
        'adapter-scale',
        `${module} has scale ${scale}, but scale 0 in the base adapter`,
        'use another adapter as the base',
      )
  }
  if (others.length > 0)
    reporter.warn(
      'adapter-modules',
      `it changes ${plural(others.length, 'module')} that the base adapter does not change, such as ${others[0]}: terge skips ${agree(others.length, 'it', 'them')}`,
      'use the adapter with more modules as the base',
    )
  return new Map(
    [...value.tensors].map(([name, tensor]) => [
      names.get(plainName(name)) ?? name,
      scaled(value.name, tensor, ratios.get(tensor) ?? 1),
    ]),
  )
}

function scaled(model: string, tensor: ValueTensor, ratio: number): ValueTensor {
  if (ratio === 1) return tensor
  const { reason: _, ...rest } = tensor
  const expr: MergeExpr = {
    ...{ kind: 'merge', step: model, method: 'passthrough', models: [model], weights: [1] },
    ...{ parameters: { scale: [ratio] }, inputs: [tensor.expr] },
  }
  return { ...rest, expr }
}
