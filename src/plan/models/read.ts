/** Reads a recipe's models as values, with the tensor names of the result. */
import { byPlace } from '../../checkpoints/order.js'
import type { Checkpoint } from '../../checkpoints/types.js'
import type { Value } from '../../expr/values.js'
import type { Faults } from '../../language/faults.js'
import type { Recipe } from '../../recipe/types.js'
import type { LaidModels, ModelLayouts } from '../layouts/read.js'
import { anchorsOf, modelsOf, originOf } from '../origins.js'
import type { PlanFile, PlanModel } from '../types.js'
import { modelValue } from './modelValue.js'
import { underBasePrefix } from './prefix.js'
import { renamedTensors } from './rename.js'
import { type Twins, withTied } from './tied.js'

export interface ReadModels {
  /** The model whose tensor names, configuration and tokenizer the first output has. */
  readonly base: string
  readonly values: Map<string, Value>
  readonly models: readonly PlanModel[]
  readonly files: readonly PlanFile[]
}

/** `whole`: the recipe that `recipe` is a part of. */
export function readModels(
  recipe: Recipe,
  whole: Recipe,
  { checkpoints, layouts }: LaidModels,
  twins: Twins,
  faults: Faults,
): ReadModels {
  const values = new Map<string, Value>()
  const models: PlanModel[] = []
  const files: PlanFile[] = []
  const base = originOf(whole, whole.outputs[0]!.from)
  const anchors = anchorsOf(whole)
  const named = (name: string) => {
    const [source, checkpoint] = [recipe.models.get(name)!, checkpoints.get(name)!]
    return renamedTensors(recipe, source, checkpoint.tensors, faults)
  }
  // Errors about new names come first. All other names of large models are not kept in memory together.
  const renames = (name: string): boolean => {
    const { stripPrefix, rename } = recipe.models.get(name)!
    return stripPrefix !== undefined || rename.length > 0
  }
  const written = new Map(modelsOf(recipe).map((name) => [name, renames(name) ? named(name) : undefined]))
  const reference = { name: base, named: written.get(base) ?? named(base), config: checkpoints.get(base)!.config }
  for (const [name, renamed] of written) {
    const given = renamed ?? (name === base ? reference.named : named(name))
    const checkpoint = checkpoints.get(name)!
    const source = recipe.models.get(name)!
    const revision = checkpoint.revision ?? source.revision
    // Adapters and measurements use other names than models.
    const own = anchors.has(name) || source.companion === 'lora' || source.companion === 'measured'
    const like = own ? given : underBasePrefix(recipe, source, given, reference, faults)
    const complete =
      own || source.companion ? like : withTied(recipe, source, like, checkpoint.config, reference, twins, faults)
    values.set(name, modelValue(name, complete, files.length, checkpoint))
    const model = models.length
    const formats = [...new Set([...(checkpoint.quantized?.weights.values() ?? [])].map(({ format }) => format))].sort()
    models.push({
      ...{ name, reference: checkpoint.reference },
      ...(revision === undefined ? {} : { revision }),
      ...(source.pattern === undefined ? {} : { pattern: source.pattern }),
      ...(formats.length > 0 ? { quantized: formats } : {}),
      ...(checkpoint.configFiles
        ? { config: checkpoint.configFiles.map(({ file, sha256 }) => ({ file, sha256 })) }
        : {}),
      ...layoutFields(layouts.get(name)),
    })
    files.push(...planFiles(checkpoint, model))
  }
  return { base, values, models, files }
}

const layoutFields = (layouts: ModelLayouts | undefined): Pick<PlanModel, 'layouts' | 'readAs'> =>
  layouts ? { layouts: layouts.stored, ...(layouts.read ? { readAs: layouts.read } : {}) } : {}

function planFiles(checkpoint: Checkpoint, model: number): PlanFile[] {
  const tensors = checkpoint.files.map((): { name: string; offset: number; bytes: number }[] => [])
  for (const { name, file, offset, bytes } of checkpoint.stored.values()) tensors[file]!.push({ name, offset, bytes })
  return checkpoint.files.map(({ name, size, headerBytes, headerDigest, etag }, index) => ({
    model,
    name,
    size,
    headerBytes,
    headerDigest,
    ...(etag === undefined ? {} : { etag }),
    tensors: tensors[index]!.sort(byPlace),
  }))
}
