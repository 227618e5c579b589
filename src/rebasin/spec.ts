/**
 * Permutation specs: which axes of which tensors share a permutation. terge prints and records specs in the form that users
 * write in a recipe or a file:
 *
 *     groups:                                   # optional if an axis consists of the group alone
 *       conv: 64
 *       heads: 4                                # key/value heads
 *       value: {size: 16, inside: heads}        # each head has its own permutation of its 16 places
 *     tensors:                                  # one entry per axis; null or a missing entry: the axis keeps its order
 *       features.0.weight: [conv]
 *       features.0.bias: [conv]
 *       classifier.weight: [null, conv*49]      # 49 places per unit: a flattened convolution
 *       attn.weight: [[heads*16, heads*16, heads*value]]   # fused parts, one after another, that fill the axis
 *       glu.weight: [[hidden, hidden]]          # two halves that share a permutation
 *     kept: {lm_head.weight: "why nothing of it is permuted"}      # optional, for the reader
 *
 * An axis can be `group*8` as well as `2*group`: units are listed from the slowest to the fastest, as in a row-major index.
 * A run has one outer group, and optionally groups inside it.
 */

import { emptyTable } from '../core/collections/ownValue.js'
import { type Diagnostic, Fault, type Place } from '../core/diagnostics.js'
import { didYouMean, nearest, quote } from '../core/suggest.js'
import type { OnnxGraph } from './onnx/graph/model.js'

export interface Group {
  /** Number of units; for a group inside another, units per outer unit. */
  readonly size: number
  /** The outer group: each of its units has its own permutation of this group. */
  readonly inside?: string
}

/** A run of places on one axis of a tensor. */
export interface AxisPart {
  readonly tensor: string
  readonly axis: number
  /** First place of the run. */
  readonly offset: number
  /** From the slowest to the fastest: names of groups, and numbers of places that stay in order. */
  readonly units: readonly (string | number)[]
  /** Places of the run. */
  readonly length: number
}

/** Which axes of which tensors can be permuted, and which of them only together. */
export interface Spec {
  readonly groups: Readonly<Record<string, Group>>
  readonly parts: readonly AxisPart[]
  /** Tensors and groups that keep their order although they could be permuted in principle, with the reason. */
  readonly kept: Readonly<Record<string, string>>
}

/** A spec as written. */
export interface SpecText {
  readonly groups?: Readonly<Record<string, number | { readonly size: number; readonly inside?: string }>>
  readonly tensors: Readonly<Record<string, readonly AxisText[]>>
  readonly kept?: Readonly<Record<string, string>>
  /** Extends an inferred spec: that of this family, or true for `auto`. */
  readonly auto?: true | string
  /** Groups, or axes such as `fc1.weight[0]`, that share a permutation. */
  readonly tie?: readonly (readonly string[])[]
  /** Patterns of groups and tensors that keep their order. */
  readonly keep?: readonly string[]
  /** The graph of an ONNX export, used instead of a written spec. `onnxSpec` compares it with a model. */
  readonly onnx?: OnnxGraph
}
export type AxisText = string | null | readonly string[]

/** The shapes of tensors by name. */
export type Shapes = ReadonlyMap<string, { readonly shape: readonly number[] }>

/** Finds the place of a part of a written spec. */
export type SpecPlaces = (at: readonly (string | number)[]) => Place

/** JSON schema of `SpecText`. */
export const specSchema = {
  type: 'object',
  description: 'Which axes of which tensors share a permutation.',
  additionalProperties: false,
  if: { required: ['auto'] },
  else: { required: ['tensors'] },
  properties: {
    auto: {
      type: ['boolean', 'string'],
      description: 'Start from the inferred spec: true for auto, or a family such as chain. The other keys change it.',
    },
    tie: {
      type: 'array',
      items: { type: 'array', minItems: 2, items: { type: 'string' } },
      description: 'With auto: lists of groups, or axes such as fc1.weight[0], that share a permutation.',
    },
    keep: {
      type: 'array',
      items: { type: 'string' },
      description: 'With auto: patterns of groups and tensors that keep their order.',
    },
    groups: {
      type: 'object',
      description: 'Sizes of the groups of units that are permuted together.',
      additionalProperties: {
        anyOf: [
          { type: 'integer', minimum: 1, description: 'Units in the group.' },
          {
            type: 'object',
            additionalProperties: false,
            required: ['size'],
            properties: {
              size: {
                type: 'integer',
                minimum: 1,
                description: 'Units in the group, or in each unit of the outer group.',
              },
              inside: {
                type: 'string',
                description: 'The outer group: each of its units has a permutation of its own.',
              },
            },
          },
        ],
      },
    },
    tensors: {
      type: 'object',
      description: 'For each tensor, a list with one entry per axis.',
      additionalProperties: {
        type: 'array',
        items: {
          anyOf: [
            { type: 'null', description: 'The axis keeps its order.' },
            {
              type: 'string',
              description: 'A group, or units from the slowest to the fastest: `conv*49`, `heads*value`.',
            },
            { type: 'array', items: { type: 'string' }, description: 'Parts that fill the axis one after another.' },
          ],
        },
      },
    },
    kept: {
      type: 'object',
      description: 'Tensors and groups that keep their order, with the reason.',
      additionalProperties: { type: 'string' },
    },
  },
} as const

/**
 * Checks a written spec against a model's shapes. Error: `spec-misfit`, one per mismatch, with tensor and axis: unknown tensors
 * and groups, axes out of range, wrong sizes, groups that cannot share a run. `placeOf` finds the places of errors in the text.
 */
export function readSpec(text: SpecText, shapes: Shapes, placeOf?: SpecPlaces): Spec {
  const errors: Diagnostic[] = []
  const complain: Complain = (at, message, hint) => {
    const place = placeOf?.(at)
    const more = { ...(place ? { place } : {}), ...(hint === undefined ? {} : { hint }) }
    errors.push({ severity: 'error', code: 'spec-misfit', message, ...more })
  }
  const groups = declaredGroups(text, complain)
  addSizes(text, shapes, groups)
  const parts = Object.entries(text.tensors).flatMap(([tensor, axes]) =>
    partsOf(tensor, axes, { shapes, groups, complain }),
  )
  if (errors.length > 0) throw new Fault(errors)
  const used = new Set(parts.flatMap(({ units }) => units))
  for (const [name, { inside }] of Object.entries(groups)) if (used.has(name) && inside !== undefined) used.add(inside)
  const kept = Object.entries(groups).filter(([name]) => used.has(name))
  return { groups: Object.fromEntries(kept), parts, kept: { ...text.kept } }
}

type Complain = (at: readonly (string | number)[], message: string, hint?: string) => void
type Groups = Record<string, Group>

/** `conv*49` as its units. */
const unitsOf = (run: string): (string | number)[] =>
  run.split('*').map((unit) => (/^\d+$/.test(unit.trim()) ? Number(unit) : unit.trim()))

const runsOf = (axis: AxisText): readonly string[] => (axis === null ? [] : typeof axis === 'string' ? [axis] : axis)

/** Groups with their sizes as written, without those that have an error in their name or size. */
function declaredGroups(text: SpecText, complain: Complain): Groups {
  const groups: Groups = emptyTable<Group>()
  for (const [name, value] of Object.entries(text.groups ?? {})) {
    const group = typeof value === 'number' ? { size: value } : value
    if (name.includes('*') || /^\d+$/.test(name) || name === '')
      complain(['groups', name], `group name ${JSON.stringify(name)} is not allowed`)
    else if (!Number.isSafeInteger(group.size) || group.size < 1)
      complain(['groups', name], `group ${name}: size ${group.size} is not a positive integer`)
    else groups[name] = group
  }
  for (const [name, group] of Object.entries(groups)) {
    if (group.inside === undefined) continue
    const outer = groups[group.inside]
    if (!outer) complain(['groups', name], `group ${name} is inside ${group.inside}, which is not a group`)
    else if (outer.inside !== undefined)
      complain(
        ['groups', name],
        `group ${name} is inside ${group.inside}, which is itself inside a group`,
        'groups can be nested only one level deep',
      )
  }
  return groups
}

/** A group without a size gets the size of an axis that it fills, alone or with numbers. */
function addSizes(text: SpecText, shapes: Shapes, groups: Groups): void {
  // If groups are declared, an unknown name is a typo: a new group would change what the network computes.
  if (text.groups !== undefined && Object.keys(text.groups).length > 0) return
  for (const [tensor, axes] of Object.entries(text.tensors))
    for (const [index, axis] of axes.entries()) {
      const runs = runsOf(axis)
      const units = runs.length === 1 ? unitsOf(runs[0]!) : []
      const names = units.filter((unit) => typeof unit === 'string')
      const length = shapes.get(tensor)?.shape[index]
      if (names.length !== 1 || length === undefined || Object.hasOwn(groups, names[0]!)) continue
      const size = length / units.reduce<number>((product, unit) => product * (typeof unit === 'number' ? unit : 1), 1)
      if (Number.isSafeInteger(size) && size > 0) groups[names[0]!] = { size }
    }
}

/** What the parts of a spec are checked against. */
interface Surroundings {
  readonly shapes: Shapes
  readonly groups: Groups
  readonly complain: Complain
}

function partsOf(tensor: string, axes: readonly AxisText[], surroundings: Surroundings): AxisPart[] {
  const { shapes, complain } = surroundings
  const shape = shapes.get(tensor)?.shape
  if (!shape) {
    complain(
      ['tensors', tensor],
      `the spec has tensor ${tensor}, which the model does not have`,
      nameHint(tensor, shapes),
    )
    return []
  }
  if (axes.length > shape.length)
    complain(
      ['tensors', tensor, shape.length],
      `tensor ${tensor} has ${shape.length} axes, but the spec has axis ${axes.length - 1}`,
    )
  return axes.flatMap((axis, index) => {
    const length = shape[index]
    return length === undefined ? [] : partsOfAxis(tensor, index, runsOf(axis), length, surroundings)
  })
}

/** The runs of one axis with groups in them; nothing where the axis stays as it is, or has an error. */
function partsOfAxis(
  tensor: string,
  axis: number,
  runs: readonly string[],
  length: number,
  { groups, complain }: Surroundings,
): AxisPart[] {
  if (runs.length === 0) return []
  const where = `tensor ${tensor}, axis ${axis}`
  const found: AxisPart[] = []
  let offset = 0
  for (const run of runs) {
    const units = unitsOf(run)
    const problem = misfit(units, groups)
    if (problem !== undefined) {
      const unknown = units.find((unit) => typeof unit === 'string' && !Object.hasOwn(groups, unit))
      const hint = unknown === undefined ? undefined : didYouMean(String(unknown), Object.keys(groups), 'groups')
      complain(['tensors', tensor, axis], `${where}: ${problem}`, hint)
      return []
    }
    const places = units.reduce<number>(
      (product, unit) => product * (typeof unit === 'number' ? unit : groups[unit]!.size),
      1,
    )
    found.push({ tensor, axis, offset, units, length: places })
    offset += places
  }
  if (offset === length) return found.filter(({ units }) => units.some((unit) => typeof unit === 'string'))
  complain(['tensors', tensor, axis], `${where}: ${runs.join(' + ')} is ${offset} places, but the axis has ${length}`)
  return []
}

const nameHint = (tensor: string, shapes: Shapes): string => {
  const [near] = nearest(tensor, shapes.keys(), 1)
  return near === undefined ? 'run terge inspect to list the names' : `did you mean ${quote(near)}?`
}

function misfit(units: readonly (string | number)[], groups: Readonly<Record<string, Group>>): string | undefined {
  let outer: string | undefined
  const seen = new Set<string>()
  for (const unit of units) {
    if (typeof unit === 'number') {
      if (!Number.isSafeInteger(unit) || unit < 1) return `${unit} is not a number of places`
      continue
    }
    const group = Object.hasOwn(groups, unit) ? groups[unit] : undefined
    if (!group) return `group ${JSON.stringify(unit)} has no size`
    if (seen.has(unit)) return `group ${unit} occurs twice in one run`
    seen.add(unit)
    if (outer === undefined && group.inside !== undefined)
      return `group ${unit} must follow ${group.inside}, which it is inside`
    if (outer !== undefined && group.inside !== outer)
      return `groups ${outer} and ${unit} cannot share a run: ${unit} is not inside ${outer}`
    outer ??= unit
  }
  return undefined
}

/** Writes a spec in the form that users write. `readSpec` reads it back. */
export function writeSpec(spec: Spec, shapes: Shapes): SpecText {
  const tensors = emptyTable<AxisText[]>()
  for (const { tensor, axis, offset, units, length } of spec.parts) {
    const shape = shapes.get(tensor)?.shape ?? []
    tensors[tensor] ??= []
    const axes = tensors[tensor]
    while (axes.length <= axis) axes.push(null)
    const whole = offset === 0 && length === shape[axis]
    if (whole) axes[axis] = units.join('*')
    else {
      const runs = [...((axes[axis] as readonly string[] | null) ?? [])]
      const filled = spec.parts
        .filter((part) => part.tensor === tensor && part.axis === axis && part.offset < offset)
        .reduce((end, part) => Math.max(end, part.offset + part.length), 0)
      if (filled < offset) runs.push(String(offset - filled))
      runs.push(units.join('*'))
      const last = !spec.parts.some((part) => part.tensor === tensor && part.axis === axis && part.offset > offset)
      const rest = (shape[axis] ?? 0) - offset - length
      if (last && rest > 0) runs.push(String(rest))
      axes[axis] = runs
    }
  }
  const groups = Object.entries(spec.groups).map(
    ([name, group]) => [name, group.inside === undefined ? group.size : group] as const,
  )
  return {
    groups: Object.fromEntries(groups),
    tensors,
    ...(Object.keys(spec.kept).length > 0 ? { kept: spec.kept } : {}),
  }
}

/** Makes a valid group name from a tensor or module name: plain numbers and `*` have another meaning in specs. */
export const groupName = (name: string): string => {
  const plain = name.replaceAll('*', '_')
  return /^\d*$/.test(plain) ? `_${plain}` : plain
}

/** The outermost group of a part. */
export const rootOf = (part: AxisPart): string => part.units.find((unit) => typeof unit === 'string') as string

/** Whether a tensor counts in matching. Running statistics do not: they are measured, not trained, and only follow their channels. */
export const counts = ({ tensor }: { readonly tensor: string }): boolean => !/(^|\.)running_(mean|var)$/.test(tensor)
