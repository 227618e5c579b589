/** Outputs whose quantized weights are all copied: they keep the stored tensors of the model, and its format. */
import type { Checkpoint } from '../../checkpoints/types.js'
import { sameJson } from '../../core/json/text.js'
import { plural } from '../../core/words.js'
import { leavesOf, plainOf } from '../../expr/cost.js'
import type { Expr } from '../../expr/types.js'
import type { Value, ValueTensor } from '../../expr/values.js'
import type { QuantizedWeight } from '../../quantization/index.js'
import { QUANTIZATION_FILES, QUANTIZATION_KEYS } from '../../quantization/settings.js'
import { isDecoded, mainStored } from '../../views/stored.js'
import type { View } from '../../views/types.js'

interface Context {
  readonly checkpoints: ReadonlyMap<string, Checkpoint>
  /** The name of the model that a file of the plan belongs to. */
  readonly modelOf: (file: number) => string
}

/** A quantized weight that an output copies. */
interface Copy {
  readonly checkpoint: Checkpoint
  readonly weight: QuantizedWeight
  /** The plan's index of the checkpoint's first file. */
  readonly firstFile: number
}

/**
 * The value with the stored tensors of its quantized weights. Undefined if it has none, if one of them is computed with,
 * if they or the configuration come from models that are quantized in different ways, or if there are matrices of which the
 * configuration does not say that they are not quantized.
 */
export function asStored(value: Value, context: Context): Value | undefined {
  const origin = context.checkpoints.get(value.origin)!
  if (!origin.quantized) return undefined
  const tensors: [string, ValueTensor][] = []
  let found = false
  for (const [name, tensor] of value.tensors) {
    if (!leavesOf(tensor.expr).some(({ view }) => isDecoded(view))) {
      if (isUnlisted(name, tensor, origin, context)) return undefined
      tensors.push([name, tensor])
      continue
    }
    const copy = copyOf(tensor.expr, context)
    if (!copy || !isAlike(copy.checkpoint, origin)) return undefined
    const parts = storedParts(name, copy, tensor)
    if (!parts) return undefined
    tensors.push(...parts)
    found = true
  }
  const names = new Map(tensors.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)))
  return found && names.size === tensors.length ? { ...value, tensors: names } : undefined
}

/**
 * Whether the configuration of a quantized model would say of a matrix of numbers that it is quantized: where the model has
 * a quantized weight, or none, unless the matrix is a copy of one of its own, such as in a stack.
 */
function isUnlisted(
  name: string,
  { shape, expr }: ValueTensor,
  origin: Checkpoint,
  { checkpoints, modelOf }: Context,
): boolean {
  if (shape.length < 2 || !name.endsWith('.weight')) return false
  if (origin.stored.has(name)) return origin.quantized!.weights.has(name)
  const plain = plainOf(expr)
  const from = plain.kind === 'read' ? checkpoints.get(modelOf(mainStored(plain.view).file)) : undefined
  return !from || !isAlike(from, origin)
}

/** The weight that an expression reads as a whole and changes in no way. */
function copyOf(expr: Expr, { checkpoints, modelOf }: Context): Copy | undefined {
  const plain = plainOf(expr)
  if (plain.kind !== 'read') return undefined
  const { file, tensor } = mainStored(plain.view)
  const checkpoint = checkpoints.get(modelOf(file))
  const weight = checkpoint && weightsByCodes(checkpoint).get(tensor)
  if (!checkpoint || !weight || !sameForm(plain.view, weight.view)) return undefined
  return { checkpoint, weight, firstFile: file - mainStored(weight.view).file }
}

const byCodes = new WeakMap<Checkpoint, ReadonlyMap<string, QuantizedWeight>>()

/** Quantized weights by the name of their codes. */
function weightsByCodes(checkpoint: Checkpoint): ReadonlyMap<string, QuantizedWeight> {
  const weights = [...(checkpoint.quantized?.weights.values() ?? [])]
  const known = byCodes.get(checkpoint) ?? new Map(weights.map((weight) => [weight.parts[0]!, weight]))
  byCodes.set(checkpoint, known)
  return known
}

/** Whether two views of the same stored tensors differ only in the numbers of files. */
function sameForm(a: View, b: View): boolean {
  if (a.kind !== b.kind) return false
  if (a.kind === 'decode' || a.kind === 'stored') return true
  return (a.kind === 'permute' || a.kind === 'reshape') && sameForm(a.of, (b as typeof a).of)
}

/** Whether two models are quantized in the same way, so that one configuration describes both. */
function isAlike(one: Checkpoint, other: Checkpoint): boolean {
  if (one === other) return true
  if (!QUANTIZATION_KEYS.some((key) => one.config?.[key])) return false
  return QUANTIZATION_KEYS.every((key) => sameJson(one.config?.[key] ?? null, other.config?.[key] ?? null))
}

/** The stored tensors of a weight, with names as for a weight with this name. Undefined if they have no such names. */
function storedParts(
  name: string,
  { checkpoint, weight, firstFile }: Copy,
  { rule, absent }: ValueTensor,
): [string, ValueTensor][] | undefined {
  const renamed = renamer(weight.name, name)
  const parts: [string, ValueTensor][] = []
  for (const part of weight.parts) {
    const given = renamed(part)
    if (given === undefined) return undefined
    const { dtype, shape, file, offset, bytes, strides } = checkpoint.stored.get(part)!
    const stored = { kind: 'stored', file: firstFile + file, tensor: part, dtype, shape, offset, bytes } as const
    const expr: Expr = { kind: 'read', view: strides ? { ...stored, strides } : stored }
    const kept = { ...(rule === undefined ? {} : { rule }), ...(absent ? { absent } : {}) }
    parts.push([given, { dtype, shape, expr, reason: 'packed', ...kept }])
  }
  return parts
}

/** Renames parts of a weight like the weight: the names have the same end, and parts have the same start. */
function renamer(from: string, to: string): (part: string) => string | undefined {
  if (from === to) return (part) => part
  const [old, fresh] = [from.split('.'), to.split('.')]
  let same = 0
  while (same < Math.min(old.length, fresh.length) - 1 && old.at(-1 - same) === fresh.at(-1 - same)) same++
  const [start, end] = [old.slice(0, old.length - same), fresh.slice(0, fresh.length - same)].map((parts) =>
    parts.length === 0 ? '' : `${parts.join('.')}.`,
  )
  return (part) => (part.startsWith(start!) ? `${end}${part.slice(start!.length)}` : undefined)
}

/** What a result in floating point does not have of a quantized model: a text for people, or undefined. */
export function droppedText({ quantized, sidecars }: Checkpoint, output: string): string | undefined {
  if (!quantized) return undefined
  const { dropped } = quantized
  const files = QUANTIZATION_FILES.filter((name) => sidecars.includes(name))
  const what = [
    ...(dropped.length > 0
      ? [`${plural(dropped.length, 'scale')} of activations and caches, such as ${dropped[0]}`]
      : []),
    ...(files.length > 0 ? [files.join(' and ')] : []),
  ]
  return what.length > 0
    ? `the weights of ${output} are not quantized as in the base: terge drops ${what.join(', and ')}`
    : undefined
}
