import { formatOf } from '../../adapters/index.js'
import type { AdapterContent } from '../../adapters/types.js'
import type { Checkpoint } from '../../checkpoints/types.js'
import { sameShape } from '../../core/dtypes.js'
import { nearest, quote } from '../../core/suggest.js'
import type { Value, ValueTensor } from '../../expr/values.js'
import type { Faults } from '../../language/faults.js'
import { packedOf, refusePacked } from '../../networks/packed.js'
import { HEAD, otherBiasOf, tiesHead } from '../../networks/tied.js'
import type { Recipe } from '../../recipe/types.js'
import { mainStored } from '../../views/stored.js'
import type { Twins } from '../models/tied.js'
import { type Amendment, hasTokenizer } from '../outputs/amend.js'
import { type Application, adapterFiles } from './application.js'
import { type CountingReporter, counting } from './counting.js'
import { finder } from './finder.js'
import { type OtherForm, otherForms } from './forms/other.js'
import { savedHere } from './forms/renamed.js'
import { embeddingOfHead, settleHead } from './head.js'
import { includedTensors, refuseUnused } from './included.js'
import { orientation } from './orientation.js'
import { refuseMixedRows, rowsChanged } from './rows.js'
import { applyUpdates } from './updates.js'
import { additions, labelsOf, prefixOf, taskClass } from './whole.js'

/**
 * Applies the adapters that models name with `lora`: W + scale · lora_scale · B·A for each module, and tensors that the
 * adapter saved whole replace the base's. terge skips nothing: a tensor that does not fit is an error at `lora`.
 * Returns, by model, the changes that its configuration needs.
 * Errors: those of the adapter's format, `changed`, `settleHead` and `refuseMixedRows`; `no-adapter`, `adapter-target`.
 * Warnings: `lora-scale`, `adapter-resizes`.
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
    const tensors = includedTensors(recipe, name, values.get(lora)!.tensors, faults)
    if (!tensors) continue
    const files = adapterFiles(tensors, own)
    const format = formatOf(files)
    if (!format)
      reporter.error(
        'no-adapter',
        'it has no adapter_config.json, which terge needs to scale the update, and its names are not those of other adapters',
        'name the folder of a PEFT adapter, or a file of sd-scripts, LyCORIS, diffusers or ComfyUI',
      )
    const network = networkOf(value, config)
    const content = format?.read(files, network.network, reporter)
    const adapter = content && savedHere(content, network.network, network.others)
    if (adapter) refuseUnused(adapter, reporter)
    if (adapter && !isPacked(recipe, value, adapter, faults)) {
      const { tensors: changed, amendment } = applied({
        base: value,
        config,
        adapter,
        ...network,
        loraScale,
        adapterName: lora,
        sameContent,
        reporter,
      })
      // After an error about the head, the unchanged model avoids follow-up errors.
      if (!reporter.hasReported('adapter-tied')) values.set(name, { ...value, tensors: changed })
      const { vocabulary } = amendment
      amendments.set(name, { ...amendment, ...(vocabulary && hasTokenizer(own) ? { tokenizer: lora } : {}) })
      if (vocabulary) warnOfRows(vocabulary, hasTokenizer(own), reporter)
    }
    reporter.close()
  }
  return amendments
}

/** What is known of a model's tensors, in its own layout and in others. */
function networkOf(value: Value, config: Checkpoint['config']): Pick<Application, 'network' | 'others'> {
  const find = finder(value.tensors)
  let known: readonly OtherForm[] | undefined
  const others = (): readonly OtherForm[] => {
    known ??= otherForms(value, config)
    return known
  }
  const has = (name: string): boolean =>
    find(name) !== undefined || others().some((other) => other.find(name) !== undefined)
  function* layouts(): Generator<ReadonlyMap<string, Pick<ValueTensor, 'shape'>>> {
    yield storedNames(value.tensors)
    for (const { shapes } of others()) yield shapes
  }
  return { network: { find, has, tensors: value.tensors, layouts, config }, others }
}

/** The tensors by the names that the recipe knows, and by those in the files. */
function storedNames(tensors: Value['tensors']): ReadonlyMap<string, ValueTensor> {
  const names = new Map(tensors)
  for (const tensor of tensors.values()) {
    if (tensor.expr.kind !== 'read' || tensor.expr.view.kind !== 'stored') continue
    const { tensor: name } = tensor.expr.view
    if (!names.has(name)) names.set(name, tensor)
  }
  return names
}

/** Whether an adapter updates packed weights, which is an error. */
function isPacked(recipe: Recipe, value: Value, { updates }: AdapterContent, faults: Faults): boolean {
  const packed = packedOf(value)
  if (packed.size === 0) return false
  // Uses the unpacked names, which may lack the prefix.
  const find = finder(new Map([...packed.keys()].map((name) => [name, undefined])))
  const name = updates.map(({ target }) => find(target.name)).find((found) => found !== undefined)
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
  const { base, adapter, network, loraScale, reporter } = application
  const { replaced } = adapter
  const { find } = network
  const tensors = new Map(base.tensors)
  const added = additions(application, network.has)
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
  applyUpdates(application, tensors, target, oriented)
  const split = settleHead(application, tensors, tiedHeads, find)
  warnOfShapes(application, tensors)
  refuseMixedRows(application, tensors)
  const vocabulary = rowsChanged(base.tensors, tensors)
  const labels = labelsOf(application, find, added)
  const task = added.size > 0 ? taskClass(adapter.task) : undefined
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

function refuseTarget({ base, config, reporter }: Application, name: string): void {
  const near = reporter.hasReported('adapter-target') ? [] : nearest(name, base.tensors.keys(), 2)
  reporter.error(
    'adapter-target',
    `it changes ${quote(name)}, which the model does not have`,
    HEAD.test(name) && tiesHead(config, name)
      ? 'the model ties its head to an embedding that terge does not recognize: save the model with a separate head (tie_word_embeddings: false)'
      : near.length > 0
        ? `the model has ${near.map(quote).join(' and ')}`
        : 'use the base model that the adapter was trained on, or name the tensors to apply: lora_include: [PATTERN]',
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
