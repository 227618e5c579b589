/** Where one tensor came from, through all generations: a pure function of lineages. */
import { ownValue } from '../../core/collections/ownValue.js'
import type { Lineage, LineageMerge, LineageModel } from '../types.js'
import { type Share, sharesOf } from './shares.js'
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
  /** The alignments that have put its elements into another order, the last one first. Other orders are other tensors. */
  readonly permuted?: readonly string[]
  /** How many merges are between it and the traced tensor, at least. */
  readonly generation: number
}

/** A step on the way of a tensor. */
export interface TraceStep {
  readonly method: string
  /** Why no weight goes through it. Absent for linear methods. */
  readonly why?: string
  /** The coefficients are those of the first rows only. The others are from the base. */
  readonly rows?: number
  /** The coefficients are those of the change by an adapter that the tensor is a factor of. */
  readonly ofChange?: true
  /** How the result was quantized. The coefficients are those of the numbers before. */
  readonly quantized?: string
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
  /** How it is quantized, if it was read from a file and is. The weight is that of the numbers that this means. */
  readonly format?: string
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
  /** The weights are those of the first rows only: later rows are not from all models. Absent: of all rows. */
  readonly rows?: number
  /** Effective weights, summed over all ways. */
  readonly weights: readonly TraceWeight[]
}

/** A lineage with the inputs that can be followed. */
interface Generation {
  readonly lineage: Lineage
  readonly inputs: ReadonlyMap<string, Ancestor>
  readonly depth: number
}

/** What a model is known by in all generations: its commit, or the digests of its files. */
function identityOf(model: LineageModel): string {
  const digests = model.files.map(({ digest, sha256 }) => digest ?? sha256)
  if (digests.length > 0 && !digests.includes(undefined)) return digests.join(' ')
  return JSON.stringify([model.reference, model.revision])
}

/** Effective weights by what they are of. `rows`: they are those of the first rows only. */
interface Weights {
  readonly of: ReadonlyMap<string, TraceWeight>
  readonly rows?: number
}

/** A step, and where it is. */
interface Place {
  readonly merge: LineageMerge
  readonly at: Generation
  readonly parts: Parts
  readonly tensor: string
  /** The name of the step in its recipe. */
  readonly owner: string
}

/** The smaller of two limits. */
const least = (one: number | undefined, other: number | undefined): number | undefined =>
  one === undefined ? other : other === undefined ? one : Math.min(one, other)

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
  private below(generation: Generation, name: string, tensor: string): Generation | undefined {
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
  private stops({ inputs }: Generation, name: string, tensor: string, ofChange = false): string | undefined {
    const input = inputs.get(name)
    if (!input) return undefined
    const { origin, model } = input
    if (origin.kind === 'refused' || origin.kind === 'stopped') return origin.why
    if (origin.kind !== 'lineage') return undefined
    // The name is that of the main stored tensor. Others may be part of it.
    if (model.readAs) return 'it was read in another layout'
    if (!Object.hasOwn(origin.read.lineage.tensors, tensor)) return `its lineage has no tensor ${tensor}`
    return ofChange ? 'the scale of its own change is not in its lineage' : undefined
  }

  /** How a source was made: in its own recipe, or the recipe of its lineage. */
  private madeOf(
    { source: { model, tensor, of }, tensors }: Share,
    { at, parts, merge: reader }: Place,
  ): Place | undefined {
    const merge = tensors ? undefined : (of ?? parts.get(partKey(model, tensor)))
    if (merge) return { merge, at, parts, tensor, owner: model }
    // An adapter at another scale is another change, and the lineage of merged adapters does not have their own scale.
    if (tensors && reader.parameters.factor === undefined) return undefined
    const below = this.below(at, model, tensor)
    const found = below?.lineage.tensors[tensor]
    if (!below || !found || (tensors && found.parameters.factor === undefined)) return undefined
    return { merge: found, at: below, parts: partsOf(found), tensor, owner: below.lineage.output.from }
  }

  /** Effective weights of what a step was made from. */
  weightsOf(place: Place): Weights {
    const { merge, tensor, at, owner } = place
    const known = this.weights.get(merge)
    if (known) return known
    if (!this.enters(merge)) return { of: new Map([[tensor, { ...UNKNOWN, tensors: [tensor], generation: at.depth }]]) }
    const total = new Map<string, TraceWeight>()
    const add = (key: string, one: TraceWeight): void => {
      const before = total.get(key)
      const weight = one.weight === null || before?.weight === null ? null : one.weight + (before?.weight ?? 0)
      total.set(key, { ...one, weight, generation: Math.min(one.generation, before?.generation ?? one.generation) })
    }
    const { shares, rows } = sharesOf(merge, tensor, owner, at.lineage)
    let first = rows
    for (const share of shares) {
      const { factor, permuted } = share
      const made = this.madeOf(share, place)
      const inner = made ? this.weightsOf(made) : { of: this.leafOf(share, place) }
      // The first rows of a tensor in another order are other rows.
      const isMoved = permuted === true && inner.rows !== undefined
      first = least(first, inner.rows)
      for (const [key, one] of inner.of) {
        const weight = factor === null || one.weight === null || isMoved ? null : factor * one.weight
        if (permuted)
          add(JSON.stringify([at.lineage.plan.digest, owner, key]), {
            ...{ ...one, weight },
            permuted: [owner, ...(one.permuted ?? [])],
          })
        else add(key, { ...one, weight })
      }
    }
    this.open.delete(merge)
    const found = { of: total, ...(first === undefined ? {} : { rows: first }) }
    this.weights.set(merge, found)
    return found
  }

  /** A source that no lineage goes beyond. */
  private leafOf({ source, tensors, scale }: Share, { at }: Place): ReadonlyMap<string, TraceWeight> {
    const model = at.inputs.get(source.model)?.model ?? modelOf(at, source.model)
    const names = tensors ?? [source.tensor]
    const key = JSON.stringify([model ? identityOf(model) : source.model, names, scale ?? null])
    const leaf: TraceWeight = {
      reference: model?.reference ?? source.model,
      ...(model?.revision === undefined ? {} : { revision: model.revision }),
      tensors: names,
      // A source that is neither a model nor described says nothing of what it was made from.
      weight: model ? 1 : null,
      ...(scale === undefined ? {} : { scale }),
      generation: at.depth,
    }
    return new Map([[key, leaf]])
  }

  /** The way itself. Parts that are shared are one object. */
  stepOf(place: Place): TraceStep {
    const { merge, tensor, at, owner } = place
    const known = this.steps.get(merge)
    if (known) return known
    if (!this.enters(merge))
      return { method: merge.method, why: 'its steps go round in a circle, or are too many', sources: [] }
    const { shares, ...facts } = sharesOf(merge, tensor, owner, at.lineage)
    const sources = shares.map((share): TraceSource => {
      const { source, role, factor, tensors, scale } = share
      const made = this.madeOf(share, place)
      const model = modelOf(at, source.model)
      const stopped = made ? undefined : this.stops(at, source.model, source.tensor, tensors !== undefined)
      return {
        ...{ model: source.model, tensor: tensors?.join(', ') ?? source.tensor, weight: factor, role },
        ...(source.format === undefined ? {} : { format: source.format }),
        ...(scale === undefined ? {} : { scale }),
        ...(model ? { reference: model.reference } : {}),
        ...(made ? { of: this.stepOf(made) } : {}),
        ...(stopped === undefined ? {} : { stopped }),
      }
    })
    const quantized = 'quantized' in merge ? { quantized: String(merge.quantized) } : {}
    const step = { method: merge.method, ...facts, ...quantized, sources }
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
const modelOf = ({ lineage: { models } }: Generation, name: string): LineageModel | undefined => ownValue(models, name)

/** Traces a tensor of a lineage. Undefined if the lineage does not have it. */
export function traceTensor(lineage: Lineage, ancestors: readonly Ancestor[], tensor: string): Trace | undefined {
  const merge = ownValue(lineage.tensors, tensor)
  if (!merge) return undefined
  const tracer = new Tracer()
  const at: Generation = { lineage, inputs: byName(ancestors), depth: 1 }
  const place: Place = { merge, at, parts: partsOf(merge), tensor, owner: lineage.output.from }
  const { of, rows } = tracer.weightsOf(place)
  const weights = [...of.values()]
  const order = (a: TraceWeight, b: TraceWeight): number =>
    Math.abs(b.weight ?? 0) - Math.abs(a.weight ?? 0) || a.generation - b.generation
  return {
    tensor,
    step: tracer.stepOf(place),
    linear: weights.every(({ weight }) => weight !== null),
    ...(rows === undefined ? {} : { rows }),
    weights: weights.sort(order),
  }
}
