/** Where one tensor came from, through all generations: a pure function of lineages. */
import { EMBEDDING, HEAD } from '../../networks/tied.js'
import type { Lineage, LineageMerge, LineageModel, LineageSource } from '../types.js'
import type { Ancestor } from './types.js'

/** A tensor of a model that no lineage goes beyond, and its weight in the traced tensor. */
export interface TraceWeight {
  /** As in the recipe that reads the model. */
  readonly reference: string
  readonly revision?: string
  /** Several names for the factors of an adapter: the weight is that of the change that they make. */
  readonly tensors: readonly string[]
  /** Null if a method on the way is not linear. */
  readonly weight: number | null
  /** Of a change by an adapter: the s of s·B·A. The same adapter with another scale is another change. */
  readonly scale?: number
  /** How many merges are between it and the traced tensor, at least. */
  readonly generation: number
}

/** A step on the way of a tensor. */
export interface TraceStep {
  readonly method: string
  /** Why no weight goes through it. Absent for linear methods. */
  readonly why?: string
  readonly sources: readonly TraceSource[]
}

/** What a tensor was made from. */
export interface TraceSource {
  /** The name of the model or step in its recipe. */
  readonly model: string
  readonly tensor: string
  /** Its own coefficient in this step. */
  readonly weight: number | null
  readonly role: 'source' | 'base' | 'adapter'
  /** Of a change by an adapter: the s of s·B·A. */
  readonly scale?: number
  /** How it was made: in the same recipe, or in the one of its lineage. */
  readonly of?: TraceStep
  /** It is a tensor of another generation. */
  readonly reference?: string
  /** Why it is not followed further, if a lineage lies beside it. */
  readonly stopped?: string
}

/** The way of one tensor. */
export interface Trace {
  /** Its name. */
  readonly tensor: string
  /** How it was made. */
  readonly step: TraceStep
  /** Whether every method on all ways is linear. */
  readonly linear: boolean
  /** Effective weights, summed over all ways. */
  readonly weights: readonly TraceWeight[]
}

/** A lineage with the inputs that can be followed. */
interface Generation {
  readonly lineage: Lineage
  readonly inputs: ReadonlyMap<string, Ancestor>
  readonly depth: number
}

/** A source of a step with its coefficient. */
interface Share {
  readonly source: LineageSource
  readonly role: TraceSource['role']
  readonly factor: number | null
  /** Names of the factors of an adapter, if there are several. */
  readonly tensors?: readonly string[]
  /** Of these factors. */
  readonly scale?: number
}

interface Shares {
  readonly shares: readonly Share[]
  readonly why?: string
}

const number = (value: unknown, otherwise: number): number => (typeof value === 'number' ? value : otherwise)
const asSource = (source: LineageSource, factor: number | null): Share => ({ source, role: 'source', factor })

/** The coefficients of linear methods. Their formulas are those of the methods, over what lineages record. */
const LINEAR: Readonly<Record<string, (merge: LineageMerge) => Shares>> = {
  copy: ({ sources }) => ({ shares: sources.slice(0, 1).map((source) => asSource(source, 1)) }),
  linear: ({ sources }) => ({ shares: sources.map((source) => asSource(source, source.weight)) }),
  passthrough: ({ sources, parameters: { scale } }) => ({
    shares: sources.slice(0, 1).map((source) => asSource(source, number(Array.isArray(scale) ? scale[0] : scale, 1))),
  }),
  // b + λ Σ w_i (x_i − b)
  task_arithmetic({ sources, base, parameters: { lambda, lines } }) {
    const scale = number(lambda, 1) * number(lines, 1)
    const shares = sources.map((source) => asSource(source, source.weight === null ? null : scale * source.weight))
    const sum = shares.reduce<number | null>(
      (all, { factor }) => (all === null || factor === null ? null : all + factor),
      0,
    )
    return {
      shares: [
        ...shares,
        ...(base ? [{ source: base, role: 'base' as const, factor: sum === null ? null : 1 - sum }] : []),
      ],
    }
  },
  // W + s·B·A: the factors of the adapter make one change, whose scale is part of the adapter.
  lora({ sources, parameters: { scale } }) {
    const adapter = sources.at(-1)
    const [base] = sources
    if (!adapter || !base) return { shares: [] }
    const factors = sources.filter(({ model }) => model === adapter.model)
    const change: Share = {
      ...{ source: adapter, role: 'adapter', factor: 1, tensors: factors.map(({ tensor }) => tensor) },
      ...(typeof scale === 'number' ? { scale } : {}),
    }
    return { shares: [...(base.model === adapter.model ? [] : [asSource(base, 1)]), change] }
  },
  'adapter-sum': ({ sources: [weight, change], parameters: { kept, scale } }) => ({
    shares: [
      ...(weight ? [asSource(weight, number(kept, 1))] : []),
      ...(change ? [{ source: change, role: 'adapter' as const, factor: number(scale, 1) }] : []),
    ],
  }),
}

/** The sources of a step, with coefficients if it is linear. */
function sharesOf(merge: LineageMerge, tensor: string, { lineage }: Generation): Shares {
  const all = (why: string): Shares => ({
    shares: [
      ...merge.sources.map((source) => asSource(source, null)),
      ...(merge.base ? [{ source: merge.base, role: 'base' as const, factor: null }] : []),
    ],
    why,
  })
  const known = Object.hasOwn(LINEAR, merge.method) ? LINEAR[merge.method] : undefined
  if (!known) return all(`${merge.method} is not linear`)
  if (merge.cropped) return all(`only the first ${merge.cropped.rows} rows were merged`)
  const isVocabulary = Object.values(lineage.steps).some(({ kind }) => kind === 'tokenizer')
  if (isVocabulary && (EMBEDDING.test(tensor) || HEAD.test(tensor))) return all('its rows follow a merged vocabulary')
  // The changes that adapters make were merged, not their factors: those are not the sum of the factors of the inputs.
  if (merge.parameters.factor !== undefined) return all('the changes by adapters were merged, not their factors')
  const found = known(merge)
  return found.shares.some(({ factor }) => factor === null)
    ? { ...found, why: `${merge.method} has no recorded weight` }
    : found
}

/** What a model is known by in all generations: its commit, or the digests of its files. */
function identityOf(model: LineageModel): string {
  const digests = model.files.map(({ digest, sha256 }) => digest ?? sha256)
  if (digests.length > 0 && !digests.includes(undefined)) return digests.join(' ')
  return JSON.stringify([model.reference, model.revision])
}

type Weights = ReadonlyMap<string, TraceWeight>

/** Most steps after one another, over all generations. */
const DEEPEST = 1000
const UNKNOWN = { reference: 'unknown', weight: null }

/** The state of one trace. */
class Tracer {
  private readonly weights = new Map<LineageMerge, Weights>()
  private readonly steps = new Map<LineageMerge, TraceStep>()
  /** Steps whose sources are being looked at. Parts of a hostile lineage can refer to each other in a circle. */
  private readonly open = new Set<LineageMerge>()
  private readonly generations = new Map<Lineage, Generation>()

  private enters(merge: LineageMerge): boolean {
    if (this.open.has(merge) || this.open.size >= DEEPEST) return false
    this.open.add(merge)
    return true
  }

  /** The generation of an input; undefined if it cannot be followed. */
  below(generation: Generation, name: string, tensor: string): Generation | undefined {
    const input = generation.inputs.get(name)
    if (input?.origin.kind !== 'lineage' || this.stops(generation, name, tensor) !== undefined) return undefined
    const { read, inputs } = input.origin
    const known = this.generations.get(read.lineage)
    if (known) return known
    const made = { lineage: read.lineage, inputs: byName(inputs), depth: generation.depth + 1 }
    this.generations.set(read.lineage, made)
    return made
  }

  /** Why a model that has a lineage is not followed. */
  stops({ inputs }: Generation, name: string, tensor: string): string | undefined {
    const input = inputs.get(name)
    if (!input) return undefined
    const { origin, model } = input
    if (origin.kind === 'refused' || origin.kind === 'stopped') return origin.why
    if (origin.kind !== 'lineage') return undefined
    // The name is that of the main stored tensor. Others may be part of it.
    if (model.readAs) return 'it was read in another layout'
    return Object.hasOwn(origin.read.lineage.tensors, tensor) ? undefined : `its lineage has no tensor ${tensor}`
  }

  /** How a source was made: in its own recipe, or the recipe of its lineage. */
  madeOf(
    { model, tensor, of }: LineageSource,
    parts: Parts,
    generation: Generation,
  ):
    | { readonly merge: LineageMerge; readonly at: Generation; readonly parts: Parts; readonly tensor: string }
    | undefined {
    const merge = of ?? parts.get(partKey(model, tensor))
    if (merge) return { merge, at: generation, parts, tensor }
    const below = this.below(generation, model, tensor)
    const found = below?.lineage.tensors[tensor]
    return below && found ? { merge: found, at: below, parts: partsOf(found), tensor } : undefined
  }

  /** Effective weights of what a step was made from. */
  weightsOf(merge: LineageMerge, tensor: string, generation: Generation, parts: Parts): Weights {
    const known = this.weights.get(merge)
    if (known) return known
    if (!this.enters(merge)) return new Map([[tensor, { ...UNKNOWN, tensors: [tensor], generation: generation.depth }]])
    const total = new Map<string, TraceWeight>()
    const add = (key: string, one: TraceWeight): void => {
      const before = total.get(key)
      const weight = one.weight === null || before?.weight === null ? null : one.weight + (before?.weight ?? 0)
      total.set(key, { ...one, weight, generation: Math.min(one.generation, before?.generation ?? one.generation) })
    }
    for (const { source, factor, tensors, scale } of sharesOf(merge, tensor, generation).shares) {
      const made = tensors ? undefined : this.madeOf(source, parts, generation)
      if (made) {
        for (const [key, one] of this.weightsOf(made.merge, made.tensor, made.at, made.parts))
          add(key, { ...one, weight: factor === null || one.weight === null ? null : factor * one.weight })
        continue
      }
      const model = generation.inputs.get(source.model)?.model ?? modelOf(generation, source.model)
      const names = tensors ?? [source.tensor]
      const key = JSON.stringify([model ? identityOf(model) : source.model, names, scale ?? null])
      const revision = model?.revision === undefined ? {} : { revision: model.revision }
      // A source that is neither a model nor described says nothing of what it was made from.
      const weight = model ? factor : null
      add(key, {
        reference: model?.reference ?? source.model,
        ...revision,
        tensors: names,
        weight,
        ...(scale === undefined ? {} : { scale }),
        generation: generation.depth,
      })
    }
    this.open.delete(merge)
    this.weights.set(merge, total)
    return total
  }

  /** The way itself. Parts that are shared are one object. */
  stepOf(merge: LineageMerge, tensor: string, generation: Generation, parts: Parts): TraceStep {
    const known = this.steps.get(merge)
    if (known) return known
    if (!this.enters(merge))
      return { method: merge.method, why: 'its steps go round in a circle, or are too many', sources: [] }
    const { shares, why } = sharesOf(merge, tensor, generation)
    const sources = shares.map(({ source, role, factor, tensors, scale }): TraceSource => {
      const made = tensors ? undefined : this.madeOf(source, parts, generation)
      const model = modelOf(generation, source.model)
      const stopped = made ? undefined : this.stops(generation, source.model, source.tensor)
      return {
        ...{ model: source.model, tensor: tensors?.join(', ') ?? source.tensor, weight: factor, role },
        ...(scale === undefined ? {} : { scale }),
        ...(model ? { reference: model.reference } : {}),
        ...(made ? { of: this.stepOf(made.merge, made.tensor, made.at, made.parts) } : {}),
        ...(stopped === undefined ? {} : { stopped }),
      }
    })
    const step = { method: merge.method, ...(why === undefined ? {} : { why }), sources }
    this.open.delete(merge)
    this.steps.set(merge, step)
    return step
  }
}

type Parts = ReadonlyMap<string, LineageMerge>
const partKey = (model: string, tensor: string): string => `${model}\0${tensor}`
const partsOf = ({ parts = [] }: Lineage['tensors'][string]): Parts =>
  new Map(parts.map((part) => [partKey(part.model, part.tensor), part]))
const byName = (inputs: readonly Ancestor[]): ReadonlyMap<string, Ancestor> =>
  new Map(inputs.map((input) => [input.name, input]))
const modelOf = ({ lineage: { models } }: Generation, name: string): LineageModel | undefined =>
  Object.hasOwn(models, name) ? models[name] : undefined

/** Traces a tensor of a lineage. Undefined if the lineage does not have it. */
export function traceTensor(lineage: Lineage, ancestors: readonly Ancestor[], tensor: string): Trace | undefined {
  const merge = Object.hasOwn(lineage.tensors, tensor) ? lineage.tensors[tensor] : undefined
  if (!merge) return undefined
  const tracer = new Tracer()
  const generation: Generation = { lineage, inputs: byName(ancestors), depth: 1 }
  const parts = partsOf(merge)
  const weights = [...tracer.weightsOf(merge, tensor, generation, parts).values()]
  const order = (a: TraceWeight, b: TraceWeight): number =>
    Math.abs(b.weight ?? 0) - Math.abs(a.weight ?? 0) || a.generation - b.generation
  return {
    tensor,
    step: tracer.stepOf(merge, tensor, generation, parts),
    linear: weights.every(({ weight }) => weight !== null),
    weights: weights.sort(order),
  }
}
