import path from 'node:path'
import { recordOf } from '../core/collections/ownValue.js'
import { sha256 } from '../core/digest.js'
import type { UnitRecord } from '../execute/units/records.js'
import { modelsFor } from '../plan/origins.js'
import { partsByName } from '../plan/placements.js'
import type { Placement, Plan, PlanTensor } from '../plan/types.js'
import type { Recipe } from '../recipe/types.js'
import type { FoundRecord } from '../steps/index.js'
import type { CheckRecord } from '../steps/types.js'
import { type BytesDigest, wholeDigest } from './fileDigest.js'
import { howMade, type Making, makingOf } from './making.js'
import type { LineageFrame, TensorEntries } from './serialize.js'
import { describeSteps } from './steps.js'
import type { Digest, InputRecords, Lineage, LineageFile, LineageTensor } from './types.js'

/** Digests of what a run read; null if the run skips digests. */
export interface ReadDigests {
  /** By `Plan.files`. */
  readonly files: readonly (Digest | null)[]
  /** SHA-256 of whole files, by `Plan.files`, as far as it is known. */
  readonly sums?: readonly (FileSum | undefined)[]
  /** By model, another file that determines its weights: an adapter's configuration. */
  readonly adapters?: ReadonlyMap<string, LineageFile>
  /** By model, the small files that were read or copied. */
  readonly beside?: ReadonlyMap<string, readonly LineageFile[]>
  /** By model, what lay beside it. */
  readonly records?: ReadonlyMap<string, InputRecords>
}

/** The SHA-256 of an input, and how it is known. */
export type FileSum = Required<Pick<LineageFile, 'sha256' | 'sha256_from'>>

/** What a run made of an output. */
export interface MadeOutput {
  /** Digests by `PlanOutput.files`. */
  readonly files: readonly (Digest | null)[]
  /** By `PlanOutput.tensors`. */
  readonly records: readonly Pick<UnitRecord, 'outputs' | 'figures'>[]
  /** SHA-256 by `PlanOutput.files`, if requested. */
  readonly sha256?: readonly (Digest | undefined)[]
  /** Files without tensors (index, config, tokenizer), which the lineage lists after those with tensors. */
  readonly others?: readonly LineageFile[]
  /** The file with the permutations of its models. */
  readonly permutations?: { readonly file: Lineage['output']['permutations']; readonly content: Uint8Array } | undefined
  /** The figures of its `evaluate` command. */
  readonly evaluations?: Readonly<Record<string, number>>
}

export interface LineageInput {
  readonly plan: Plan
  readonly recipe: Pick<Recipe, 'text' | 'overrides' | 'models' | 'steps'> &
    Partial<Pick<Recipe, 'tokenizer' | 'chatTemplate'>>
  /** Index into `Plan.outputs`. */
  readonly output: number
  readonly made: MadeOutput
  readonly read: ReadDigests
  /** The findings of analyses, by step. */
  readonly steps?: ReadonlyMap<string, FoundRecord>
  /** What the checks of steps compared. */
  readonly checks?: ReadonlyMap<string, CheckRecord> | undefined
  /** The results of passes, by scope of the plan. */
  readonly scopes?: readonly (readonly Float64Array[])[]
  /** The version of terge. */
  readonly version: string
  readonly bytesDigest: BytesDigest
}

/** The lineage of one output: a pure function of the plan and the run's records. */
export function buildLineage(input: LineageInput): Lineage {
  const { frame, tensors } = describeOutput(input)
  let known: Lineage['tensors'] | undefined
  const { output, evaluations, ...head } = frame
  return {
    ...head,
    // Made on first use: a model can have a million tensors.
    get tensors() {
      known ??= recordOf(tensors())
      return known
    },
    output,
    ...(evaluations ? { evaluations } : {}),
  }
}

/** A lineage in parts, so that it can be written without all of its tensors in memory at once. */
export interface DescribedOutput {
  readonly frame: LineageFrame
  /** By name, in code-unit order. Each call makes them again. */
  readonly tensors: () => TensorEntries
}

export function describeOutput({
  plan,
  recipe,
  output: index,
  made,
  read,
  steps,
  checks,
  scopes = [],
  version,
  bytesDigest,
}: LineageInput): DescribedOutput {
  const output = plan.outputs[index]
  if (!output) throw new Error(`internal: no output ${index}`)
  const files = [
    ...output.files.map(({ name, size }, i) =>
      // The plan does not name a single file, because the plan's digest does not depend on the name.
      lineageFile(
        { name: output.layout === 'file' ? path.basename(output.path) : name, size },
        made.files[i] ?? null,
        made.sha256?.[i] === undefined ? {} : { sha256: made.sha256[i] },
      ),
    ),
    ...(made.others ?? []),
  ]
  const frame: LineageFrame = {
    terge: version,
    lineage: 2,
    recipe: { text: recipe.text, digest: sha256(recipe.text), set: [...recipe.overrides] },
    plan: { digest: plan.digest },
    seed: plan.seed,
    models: lineageModels(plan, recipe, read),
    steps: { ...describeSteps(plan, recipe, output.from, { found: steps, checks }), ...tokenizerStep(plan, recipe) },
    output: {
      from: output.from,
      ...(output.point ? { point: { name: output.point.name, t: output.point.t } } : {}),
      ...(output.keep === false ? { dropped: true as const } : {}),
      ...modelsMerged(plan, recipe, output.from),
      files,
      tensors: output.tensors.reduce((sum, { placements }) => sum + placements.length, 0),
      digest: wholeDigest(
        files.map((file) => file.digest),
        bytesDigest,
      ),
      ...(made.permutations?.file ? { permutations: made.permutations.file } : {}),
    },
    ...(made.evaluations ? { evaluations: made.evaluations } : {}),
  }
  const making = makingOf(plan, recipe, scopes)
  function* tensors(): Generator<readonly [string, LineageTensor]> {
    for (const { placement, tensor, part } of partsByName(output!.tensors))
      yield [placement.name, lineageTensor(output!.tensors[tensor]!, placement, part, made.records[tensor]!, making)]
  }
  return { frame, tensors }
}

/** The models of an output, if there are others. A merged vocabulary is one of all models. */
function modelsMerged(plan: Plan, recipe: LineageInput['recipe'], from: string): Pick<Lineage['output'], 'models'> {
  const used = new Set(modelsFor(recipe, from))
  const names = plan.models.map(({ name }) => name)
  return plan.tokenizer || names.every((name) => used.has(name)) ? {} : { models: names.filter((one) => used.has(one)) }
}

/** The record of the merged vocabulary, as a step named `tokenizer`, or `vocabulary` if a step has that name. */
function tokenizerStep({ tokenizer }: Plan, { steps }: LineageInput['recipe']): Lineage['steps'] {
  if (!tokenizer) return {}
  const name = steps.some((step) => step.name === 'tokenizer') ? 'vocabulary' : 'tokenizer'
  const { models, ...rest } = tokenizer
  return { [name]: { kind: 'tokenizer', ...rest, models: recordOf(Object.entries(models)) } }
}

const lineageFile = (
  file: Pick<LineageFile, 'name' | 'size' | 'etag'>,
  digest: Digest | null,
  sum: Partial<FileSum> = {},
): LineageFile => ({
  name: file.name,
  size: file.size,
  digest,
  ...sum,
  ...(file.etag === undefined ? {} : { etag: file.etag }),
})

function lineageModels(plan: Plan, recipe: LineageInput['recipe'], digests: ReadDigests): Lineage['models'] {
  const order = [...recipe.models.keys()]
  return recordOf(
    plan.models.map((model, index) => {
      const files = plan.files.flatMap((file, i) =>
        file.model === index ? [lineageFile(file, digests.files[i] ?? null, digests.sums?.[i])] : [],
      )
      const adapter = digests.adapters?.get(model.name)
      const beside = digests.beside?.get(model.name)
      return [
        model.name,
        {
          index: order.indexOf(model.name),
          reference: model.reference,
          ...(model.revision === undefined ? {} : { revision: model.revision }),
          ...(model.quantized ? { quantized: model.quantized } : {}),
          ...(model.config ? { config: model.config } : {}),
          ...(model.layouts ? { layouts: model.layouts } : {}),
          ...(model.readAs ? { readAs: model.readAs } : {}),
          ...digests.records?.get(model.name),
          files: adapter ? [...files, adapter] : files,
          ...(beside ? { beside } : {}),
        },
      ]
    }),
  )
}

function lineageTensor(
  tensor: PlanTensor,
  { dtype, shape }: Placement,
  part: number,
  { outputs, figures: { nonFinite, notes } }: MadeOutput['records'][number],
  making: Making,
): LineageTensor {
  const { reason, absent, quantized } = tensor
  return {
    ...howMade(making, tensor),
    dtype,
    shape,
    digest: outputs[part] ?? null,
    ...(quantized && part === 0 ? { quantized } : {}),
    ...(reason === undefined ? {} : { reason }),
    ...(absent && absent.length > 0 ? { absent } : {}),
    ...(nonFinite === undefined ? {} : { non_finite: nonFinite }),
    ...(notes === undefined ? {} : { notes }),
  }
}
