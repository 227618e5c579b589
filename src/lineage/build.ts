import path from 'node:path'
import { sha256 } from '../core/digest.js'
import type { Json } from '../core/json/shape.js'
import { recordOf } from '../core/ownValue.js'
import type { CopyReason } from '../core/reasons.js'
import type { UnitRecord } from '../execute/units/records.js'
import type { Expr, MergeExpr, ReadExpr } from '../expr/types.js'
import { inputsOf, LARGEST_TREE, treeSize } from '../expr/walk.js'
import { lookupMethod } from '../methods/registry.js'
import type { Plan, PlanTensor } from '../plan/types.js'
import type { Recipe } from '../recipe/types.js'
import { type FoundRecord, kindOf } from '../steps/index.js'
import { lastFinding, mainStored, withoutLastFinding } from '../views/stored.js'
import { type BytesDigest, wholeDigest } from './fileDigest.js'
import { codeUnits, type LineageFrame, type TensorEntries } from './serialize.js'
import { describeSteps } from './steps.js'
import type { Digest, Lineage, LineageFile, LineageMerge, LineagePart, LineageSource, LineageTensor } from './types.js'

/** Digests of what a run read: null where it was told to leave digests out. */
export interface ReadDigests {
  /** By `Plan.files`. */
  readonly files: readonly (Digest | null)[]
  /** Of whole files, by `Plan.files`, where asked for. */
  readonly sha256?: readonly (Digest | undefined)[]
  /** By model, a file beside its weights that decides what they are: an adapter's configuration. */
  readonly beside?: ReadonlyMap<string, LineageFile>
}

/** What a run made of an output. */
export interface MadeOutput {
  /** Digests by `PlanOutput.files`. */
  readonly files: readonly (Digest | null)[]
  /** By `PlanOutput.tensors`. */
  readonly records: readonly Pick<UnitRecord, 'outputs' | 'figures'>[]
  /** By `PlanOutput.files`, where asked for. */
  readonly sha256?: readonly (Digest | undefined)[]
  /** Files beside the checkpoint's (index, config, tokenizer), to be listed after them. */
  readonly others?: readonly LineageFile[]
  /** Where a command evaluated it. */
  readonly evaluations?: Readonly<Record<string, number>>
}

export interface LineageInput {
  readonly plan: Plan
  readonly recipe: Pick<Recipe, 'text' | 'overrides' | 'models' | 'steps'>
  /** Index into `Plan.outputs`. */
  readonly output: number
  readonly made: MadeOutput
  readonly read: ReadDigests
  /** By step, what its analysis found. */
  readonly steps?: ReadonlyMap<string, FoundRecord>
  /** By scope of the plan, what its passes found. */
  readonly scopes?: readonly (readonly Float64Array[])[]
  /** Of the program. */
  readonly version: string
  readonly bytesDigest: BytesDigest
}

/** The lineage of one output: a pure function of what was planned and of the run's records. */
export function buildLineage(input: LineageInput): Lineage {
  const { frame, tensors } = describeOutput(input)
  let known: Lineage['tensors'] | undefined
  const { output, evaluations, ...head } = frame
  return {
    ...head,
    // Made when they are asked for: a model may have a million.
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
  /** By name, in code-unit order; made anew with each call. */
  readonly tensors: () => TensorEntries
}

export function describeOutput({
  plan,
  recipe,
  output: index,
  made,
  read,
  steps,
  scopes = [],
  version,
  bytesDigest,
}: LineageInput): DescribedOutput {
  const output = plan.outputs[index]
  if (!output) throw new Error(`internal: no output ${index}`)
  const files = [
    ...output.files.map(({ name, size }, i) =>
      // The plan leaves the name of a single file open, since the digest of the plan does not depend on it.
      lineageFile(
        { name: output.layout === 'file' ? path.basename(output.path) : name, size },
        made.files[i] ?? null,
        made.sha256?.[i],
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
    steps: { ...describeSteps(plan, recipe, output.from, steps ?? new Map()), ...tokenizerStep(plan, recipe) },
    output: {
      from: output.from,
      ...(output.point ? { point: { name: output.point.name, t: output.point.t } } : {}),
      ...(output.keep === false ? { dropped: true as const } : {}),
      files,
      tensors: output.tensors.length,
      digest: wholeDigest(
        files.map((file) => file.digest),
        bytesDigest,
      ),
    },
    ...(made.evaluations ? { evaluations: made.evaluations } : {}),
  }
  const describe = describer(plan, recipe, scopes)
  function* tensors(): Generator<readonly [string, LineageTensor]> {
    const nameOf = (i: number): string => output!.tensors[i]!.name
    const order = Uint32Array.from(output!.tensors.keys()).sort((a, b) => codeUnits(nameOf(a), nameOf(b)))
    for (const i of order) {
      const tensor = output!.tensors[i]!
      yield [tensor.name, lineageTensor(tensor, made.records[i]!, describe)]
    }
  }
  return { frame, tensors }
}

/** What became of the vocabulary, as if it were a step; under another name where a step has that one. */
function tokenizerStep({ tokenizer }: Plan, { steps }: LineageInput['recipe']): Lineage['steps'] {
  if (!tokenizer) return {}
  const name = steps.some((step) => step.name === 'tokenizer') ? 'vocabulary' : 'tokenizer'
  const { models, ...rest } = tokenizer
  return { [name]: { kind: 'tokenizer', ...rest, models: recordOf(Object.entries(models)) } }
}

const lineageFile = (file: { name: string; size: number }, digest: Digest | null, sha256?: Digest): LineageFile => ({
  name: file.name,
  size: file.size,
  digest,
  ...(sha256 === undefined ? {} : { sha256 }),
})

function lineageModels(plan: Plan, recipe: LineageInput['recipe'], digests: ReadDigests): Lineage['models'] {
  const order = [...recipe.models.keys()]
  return recordOf(
    plan.models.map((model, index) => {
      const files = plan.files.flatMap((file, i) =>
        file.model === index ? [lineageFile(file, digests.files[i] ?? null, digests.sha256?.[i])] : [],
      )
      const beside = digests.beside?.get(model.name)
      return [
        model.name,
        {
          index: order.indexOf(model.name),
          reference: model.reference,
          ...(model.revision === undefined ? {} : { revision: model.revision }),
          files: beside ? [...files, beside] : files,
        },
      ]
    }),
  )
}

/** A weight that is no number, since a norm was none, is not told. */
const finite = (weight: number | null | undefined): number | null =>
  weight !== null && weight !== undefined && Number.isFinite(weight) ? weight : null

type Describe = ReturnType<typeof describer>

/** Reasons of tensors that a step made without a merge. */
const STEP_MADE: ReadonlySet<CopyReason> = new Set(['aligned', 'repaired'])

function lineageTensor(
  tensor: PlanTensor,
  { outputs: [digest = null], figures: { nonFinite, notes } }: MadeOutput['records'][number],
  describe: Describe,
): LineageTensor {
  const { expr, name, reason, absent } = tensor
  return {
    ...describe.whole(expr, name, reason === undefined || STEP_MADE.has(reason)),
    dtype: tensor.dtype,
    shape: tensor.shape,
    digest,
    ...(reason === undefined ? {} : { reason }),
    ...(absent && absent.length > 0 ? { absent } : {}),
    ...(nonFinite === undefined ? {} : { non_finite: nonFinite }),
    ...(notes === undefined ? {} : { notes }),
  }
}

/** Steps within steps that are nested at the most: readers of lineages go twice as deep. */
const DEEPEST = 24

function depthOf({ sources, base }: LineageMerge): number {
  const below = [...sources, ...(base ? [base] : [])].flatMap(({ of }) => (of ? [depthOf(of)] : []))
  return below.reduce((most, depth) => Math.max(most, depth + 1), 0)
}

/** Turns expressions into the lineage's words; `tensor` is the name of what an expression makes, in fused steps too. */
function describer(plan: Plan, recipe: Pick<Recipe, 'steps'>, scopes: NonNullable<LineageInput['scopes']>) {
  const kinds = new Map<string, string>(recipe.steps.map(({ name, kind }) => [name, kind]))
  const bases = new Map(recipe.steps.map((step) => [step.name, kindOf(step).like(step)]))

  /** Who an expression belongs to: the step that makes it, or the model whose file it reads. */
  function owner(expr: Expr): string {
    if (expr.kind === 'merge' || expr.kind === 'crop' || expr.kind === 'factor') return expr.step
    if (expr.kind === 'lora') return owner(expr.base)
    const last = expr.kind === 'read' ? lastFinding(expr.view) : expr.aligned?.at(-1)
    if (last) return last.step
    return expr.kind === 'computed' ? expr.step : plan.models[plan.files[mainStored(expr.view).file]!.model]!.name
  }

  /** An expression without the alignment that was applied last; undefined where there is none. */
  function before(expr: Expr): Expr | undefined {
    if (expr.kind === 'lora') {
      const base = before(expr.base)
      return base && { ...expr, base: base as ReadExpr }
    }
    if (expr.kind === 'read') {
      const view = withoutLastFinding(expr.view)
      return view && { kind: 'read', view }
    }
    return expr.kind === 'computed' && expr.aligned?.length
      ? { ...expr, aligned: expr.aligned.slice(0, -1) }
      : undefined
  }

  /** Of the tensor under way: what steps made on the way, by step and name, where it is listed and not nested. */
  let parts: Map<string, LineagePart> | undefined

  /** How a tensor came about. `merged`: not as a copy of a model's or a step's. */
  function whole(expr: Expr, tensor: string, merged: boolean): LineageMerge & Pick<LineageTensor, 'parts'> {
    const describe = () => (merged ? made(expr, tensor) : undefined) ?? copy(expr, tensor)
    parts = undefined
    const nested = treeSize(expr) <= LARGEST_TREE ? describe() : undefined
    if (nested && depthOf(nested) <= DEEPEST) return nested
    parts = new Map()
    const flat = describe()
    return { ...flat, parts: [...parts.values()] }
  }

  function source(name: string, expr: Expr, tensor: string, weight: number | null): LineageSource {
    const own = owner(expr) === name
    const key = `${name}\0${tensor}`
    if (parts?.has(key)) return { model: name, tensor, weight }
    const of = own ? made(expr, tensor) : copy(expr, tensor)
    if (parts && of) {
      parts.set(key, { model: name, tensor, ...of })
      return { model: name, tensor, weight }
    }
    // A step's tensors have the names of the step's base; a file's may be called otherwise.
    const stored = own && expr.kind === 'read' ? mainStored(expr.view).tensor : tensor
    return { model: name, tensor: stored, weight, ...(of ? { of } : {}) }
  }

  /** How the owner of an expression came by it; undefined for a tensor that is read as it is. */
  function made(expr: Expr, tensor: string): LineageMerge | undefined {
    const aligned = before(expr)
    if (aligned) return step(kinds.get(owner(expr)) ?? 'computed', [aligned], tensor)
    if (expr.kind === 'merge') return merge(expr, tensor)
    if (expr.kind === 'lora') {
      const { rank, scale } = expr
      return { ...step('lora', inputsOf(expr), tensor), parameters: { rank, scale } }
    }
    if (expr.kind === 'crop') {
      const { merge: inner, cropped } = expr
      return { ...merge(inner, tensor), cropped: { rows: inner.shape![0]!, models: cropped } }
    }
    if (expr.kind === 'factor') {
      const { tensor, work } = plan.factorings[expr.factoring]!
      const { rank, method } = work.options as Readonly<Record<string, Json>>
      const sources = expr.inputs.map((input) => source(owner(input), input, tensor, null))
      return {
        method: kinds.get(expr.step) ?? 'extract',
        parameters: { factor: expr.factor, rank: rank!, method: method!, scale: work.scale },
        sources: sources.slice(0, 1),
        base: sources[1]!,
      }
    }
    return expr.kind === 'computed' ? step(kinds.get(expr.step) ?? 'computed', expr.inputs, tensor) : undefined
  }

  const step = (method: string, inputs: readonly Expr[], tensor: string): LineageMerge => ({
    method,
    parameters: {},
    sources: inputs.map((input) =>
      source(owner(input), input, input.kind === 'read' ? mainStored(input.view).tensor : tensor, null),
    ),
  })

  const copy = (expr: Expr, tensor: string): LineageMerge => ({
    method: 'copy',
    parameters: {},
    sources: [source(owner(expr), expr, tensor, null)],
  })

  function merge(expr: MergeExpr, tensor: string): LineageMerge {
    const method = lookupMethod(expr.method)
    if (!method) throw new Error(`internal: method ${expr.method} is not in the registry`)
    const scope = expr.scopeIndex === undefined ? undefined : scopes[expr.scopeIndex]
    const weights = method.effective(
      scope ? { ...expr, scope } : { weights: expr.weights, parameters: expr.parameters },
    )
    return {
      method: expr.method,
      parameters: { ...(expr.parameters as Readonly<Record<string, Json>>) },
      sources: expr.models.map((name, i) => {
        const known = expr.statistics?.[i]
        const own = source(name, expr.inputs[i]!, tensor, finite(weights[i]))
        return known ? { ...own, statistics: source(owner(known), known, tensor, null) } : own
      }),
      ...(expr.base ? { base: source(bases.get(expr.step) ?? owner(expr.base), expr.base, tensor, null) } : {}),
    }
  }

  return { whole }
}
