import type { Checkpoint } from '../../checkpoints/types.js'
import { nearest, quote } from '../../core/suggest.js'
import { isFloat } from '../../encodings/index.js'
import type { ReadExpr } from '../../expr/types.js'
import { sameShape, type Value, type ValueTensor } from '../../expr/values.js'
import type { Faults } from '../../language/faults.js'
import { orientations } from '../../networks/orientation.js'
import { packedOf, refusePacked } from '../../networks/packed.js'
import { HEAD, otherBiasOf, tiesHead } from '../../networks/tied.js'
import type { Recipe } from '../../recipe/types.js'
import { mainStored } from '../../views/stored.js'
import type { Twins } from '../models/tied.js'
import { type Amendment, hasTokenizer } from '../outputs/amend.js'
import type { Application } from './application.js'
import { readAdapterConfig } from './config.js'
import { type CountingReporter, counting } from './counting.js'
import { embeddingOfHead, settleHead } from './head.js'
import { refuseMixedRows, rowsChanged } from './rows.js'
import { type AdapterTensors, adapterTensors, type Update } from './tensors.js'
import { finder, updated } from './update.js'
import { additions, labelsOf, prefixOf, taskClass } from './whole.js'

/**
 * Applies the adapters that models name with `lora`: W + scale · lora_scale · B·A for each module, and tensors that the
 * adapter saved whole replace the base's. terge skips nothing: a tensor that does not fit is an error at `lora`.
 * Returns, by model, the changes that its configuration needs.
 * Errors: those of `readAdapterConfig`, `adapterTensors`, `updated`, `settleHead` and `refuseMixedRows`; `no-adapter`,
 * `adapter-target`. Warnings: `lora-scale`, `adapter-resizes`.
 */
export function applyAdapters(
  recipe: Recipe,
  values: Map<string, Value>,
  checkpoints: ReadonlyMap<string, Checkpoint>,
  modelOf: (file: number) => string,
  twins: Twins,
  faults: Faults,
): ReadonlyMap<string, Amendment> {
  const amendments = new Map<string, Amendment>()
  const sameContent = ({ expr: a }: ValueTensor, { expr: b }: ValueTensor): boolean => {
    if (a.kind !== 'read' || b.kind !== 'read') return false
    const [own, like] = [mainStored(a.view), mainStored(b.view)]
    const others = twins.get(modelOf(own.file))?.get(own.tensor) ?? []
    return others.some(({ model, tensor }) => model === modelOf(like.file) && tensor === like.tensor)
  }
  for (const [name, value] of values) {
    const { lora, loraScale = 1, at } = recipe.models.get(name)!
    if (lora === undefined) continue
    const reporter = counting(faults, lora, recipe.placeOf([...at, 'lora']))
    const own = checkpoints.get(lora)!
    const { config } = checkpoints.get(name)!
    const settings = own.adapter && readAdapterConfig(own.adapter, reporter)
    const found = own.adapter && adapterTensors(values.get(lora)!.tensors, reporter)
    if (!own.adapter)
      reporter.error(
        'no-adapter',
        'it has no adapter_config.json, which terge needs to scale the update',
        'name the folder of a PEFT adapter, or a file with adapter_config.json beside it',
      )
    if (settings && found && !isPacked(recipe, value, found, faults)) {
      const application = { base: value, config, settings, found, loraScale, sameContent, reporter }
      const { tensors, amendment } = applied(application)
      // After an error about the head, the unchanged model avoids follow-up errors.
      if (!reporter.hasReported('adapter-tied')) values.set(name, { ...value, tensors })
      const { vocabulary } = amendment
      amendments.set(name, { ...amendment, ...(vocabulary && hasTokenizer(own) ? { tokenizer: lora } : {}) })
      if (vocabulary) warnOfRows(vocabulary, hasTokenizer(own), reporter)
    }
    reporter.close()
  }
  return amendments
}

/** Whether an adapter updates packed weights, which is an error. */
function isPacked(recipe: Recipe, value: Value, { updates }: AdapterTensors, faults: Faults): boolean {
  const packed = packedOf(value)
  if (packed.size === 0) return false
  // Uses the unpacked names, which may lack the prefix.
  const find = finder(new Map([...packed.keys()].map((name) => [name, undefined])))
  const name = updates.map(({ module }) => find(`${module}.weight`)).find((found) => found !== undefined)
  if (name !== undefined) refusePacked(recipe, value, packed, name, recipe.models.get(value.name)!.at, faults)
  return name !== undefined
}

function warnOfRows(
  { before, after }: { before: number; after: number },
  hasOwn: boolean,
  reporter: CountingReporter,
): void {
  reporter.warn(
    'adapter-resizes',
    `the adapter has ${after} vocabulary rows and the model has ${before}: the result has ${after}, and terge updates vocab_size`,
    hasOwn
      ? 'the result uses the tokenizer in the adapter’s folder'
      : 'the result still uses the tokenizer of the model: put the one that the adapter was trained with into the adapter’s folder',
  )
}

function applied(application: Application): { tensors: Value['tensors']; amendment: Amendment } {
  const { base, settings, found, loraScale, reporter } = application
  const { updates, biases, replaced } = found
  const tensors = new Map(base.tensors)
  const find = finder(tensors)
  const added = additions(application, (name) => find(name) !== undefined)
  /** By the name of a tied head: the embedding that is used for it. */
  const tiedHeads = new Map<string, string>()
  const target = (name: string): string | undefined => {
    const own = find(name)
    if (own !== undefined) return own
    const twin = otherBiasOf(name)
    const bias = twin === undefined ? undefined : find(twin)
    if (bias !== undefined) return bias
    if (tensors.has(name) && (added.has(name) || tiedHeads.has(name))) return name
    const embedding = HEAD.test(name) ? embeddingOfHead(application, name) : undefined
    if (embedding === undefined) {
      refuseTarget(application, name)
      return undefined
    }
    tiedHeads.set(name, embedding)
    tensors.set(name, base.tensors.get(embedding)!)
    return name
  }
  const change = (name: string, tensor: ValueTensor): void => {
    const { reason: _, ...rest } = tensor
    tensors.set(name, rest)
  }
  for (const [name, tensor] of added) change(name, tensor)
  for (const [name, tensor] of replaced) {
    if (added.has(name)) continue
    const own = target(name)
    if (own !== undefined) tensors.set(own, tensor)
  }
  if (replaced.size > 0 && loraScale !== 1)
    reporter.warn(
      'lora-scale',
      `lora_scale does not apply to the ${replaced.size === 1 ? 'tensor' : `${replaced.size} tensors`} that the adapter saved whole: terge copies ${replaced.size === 1 ? 'it' : 'them'} as saved`,
    )
  const oriented = orientation(application, find)
  for (const update of updates) {
    const own = target(`${update.module}.weight`)
    const expr =
      own === undefined ? undefined : updated(tensors.get(own)!, update, settings, loraScale, oriented, reporter)
    if (expr && expr.scale !== 0) change(own!, { ...tensors.get(own!)!, expr })
  }
  for (const bias of biases) {
    const own = target(`${bias.module}.bias`)
    const tensor = own === undefined ? undefined : withBias(application, tensors.get(own)!, bias)
    if (tensor) change(own!, tensor)
  }
  const split = settleHead(application, tensors, tiedHeads, find)
  warnOfShapes(application, tensors)
  refuseMixedRows(application, tensors)
  const vocabulary = rowsChanged(base.tensors, tensors)
  const labels = labelsOf(application, find, added)
  const task = added.size > 0 ? taskClass(settings.task) : undefined
  const made = [...tensors.keys()].filter((name) => !base.tensors.has(name))
  const prefix = made.length > 0 ? prefixOf(application, find) : undefined
  return {
    tensors: new Map([...tensors].sort(([a], [b]) => (a < b ? -1 : 1))),
    amendment: {
      ...(vocabulary ? { vocabulary } : {}),
      ...(split ? { split } : {}),
      ...(task === undefined ? {} : { task }),
      ...(prefix === undefined ? {} : { prefix, added: new Set(made) }),
      ...(labels === undefined ? {} : { labels }),
    },
  }
}

/** A bias with the adapter's difference added; nothing where it stays, or has an error. */
function withBias(
  { settings, loraScale, reporter }: Application,
  own: ValueTensor,
  { module, tensor }: AdapterTensors['biases'][number],
): ValueTensor | undefined {
  const { shape, expr } = own
  const scale = loraScale * settings.scale(module)
  if (!sameShape(shape, tensor.shape) || !isFloat(tensor.dtype) || expr.kind !== 'read')
    reporter.error(
      'adapter-shape',
      `its bias of ${module} does not fit the shape [${shape.join(', ')}] in the model`,
      'use the base model that the adapter was trained on',
    )
  else if (scale !== 0) {
    const right = { read: tensor.expr as ReadExpr, byRank: true }
    return { ...own, expr: { kind: 'lora', base: expr, shape, rank: 1, scale, right } }
  }
  return undefined
}

function refuseTarget({ base, config, reporter }: Application, name: string): void {
  const near = reporter.hasReported('adapter-target') ? [] : nearest(name, base.tensors.keys(), 2)
  reporter.error(
    'adapter-target',
    `it changes ${quote(name)}, which the model does not have`,
    HEAD.test(name) && tiesHead(config, name)
      ? 'the model ties its head to an embedding that terge does not recognize: save the model with a separate head (tie_word_embeddings: false)'
      : near.length > 0
        ? `the model has ${near.map(quote).join(' and ')}`
        : 'use the base model that the adapter was trained on',
  )
}

/** Warns of tensors that were saved whole with another shape, except embeddings and heads of a resized vocabulary. */
function warnOfShapes({ base, reporter }: Application, tensors: ReadonlyMap<string, ValueTensor>): void {
  const vocabulary = rowsChanged(base.tensors, tensors)
  for (const [name, { shape }] of tensors) {
    const before = base.tensors.get(name)?.shape
    if (!before || sameShape(before, shape)) continue
    if (vocabulary && before[0] === vocabulary.before && shape[0] === vocabulary.after) continue
    reporter.warn(
      'adapter-resizes',
      `${name} has shape [${shape.join(', ')}] in the adapter and [${before.join(', ')}] in the model: the result has the shape in the adapter`,
      'check that the adapter belongs to this model',
    )
  }
}

/** How a square weight is stored. Neither its shape nor PEFT's single flag for all layers shows it. */
function orientation(
  { base, config, settings, found, reporter }: Application,
  find: (name: string) => string | undefined,
) {
  const known = orientations(base.tensors, config)
  const nameOf = (module: string): string => (find(`${module}.weight`) ?? `${module}.weight`).replace(/\.weight$/, '')
  for (const { module, kind, a, b } of found.updates) {
    const shape = base.tensors.get(`${nameOf(module)}.weight`)?.shape
    if (kind !== 'weight' || shape?.length !== 2 || a.shape.length !== 2 || b.shape.length !== 2) continue
    const sizes = [b.shape[0]!, a.shape[1]!] as const
    if (sizes[0] === sizes[1]) continue
    if (sameShape(shape, sizes)) known.note(nameOf(module), 'straight')
    else if (sameShape(shape, [sizes[1], sizes[0]])) known.note(nameOf(module), 'turned')
  }
  const names = found.updates.flatMap(({ module, kind }: Update) => (kind === 'weight' ? [nameOf(module)] : []))
  return (module: string) => {
    const decision = known.byFlag(nameOf(module), settings.fanInFanOut, names)
    if (decision === 'straight' || decision === 'turned') return decision
    reporter.error(
      'adapter-orientation',
      decision === 'contradiction'
        ? `${module} is square, and of the layers around it some are stored [in, out] and some [out, in]`
        : `${module} is square, and nothing shows whether it is stored [in, out] or [out, in]: fan_in_fan_out is ${settings.fanInFanOut}, but PEFT writes it for the last layer only`,
      'merge the adapter into its base with PEFT, and use the result; or set model_type in the model’s config.json',
    )
    return undefined
  }
}
