/** The weights that adapters change, with the change of each adapter. */
import { kindOf } from '../../../adapters/kinds/index.js'
import type { LowFactors, Magnitude, Update } from '../../../adapters/types.js'
import { read, reshape, viewOf } from '../../../adapters/views.js'
import type { Place } from '../../../core/diagnostics.js'
import { elements, sameShape } from '../../../core/dtypes.js'
import { quote } from '../../../core/suggest.js'
import { isFloat } from '../../../encodings/index.js'
import type { Expr, LowRankPart } from '../../../expr/types.js'
import type { ValueTensor } from '../../../expr/values.js'
import type { Faults } from '../../../language/faults.js'
import type { ReadAdapter } from '../../types.js'

/** The change of a weight by one adapter: scale · B·A, or scale · ΔW. */
export interface WeightChange {
  /** A [rank, …inputs] and B, with the rank of each expert if there are several. Absent for changes of a higher rank. */
  readonly low?: LowFactors
  readonly scale: number
  /** ΔW as one tensor. Not for experts. */
  readonly whole: () => Expr
  /** Whether it has float64 numbers. */
  readonly wide: boolean
  /** For experts: the version of PEFT, which decides how square ones are stored. */
  readonly version?: string
  /** DoRA: the norms that the updated weight gets. */
  readonly magnitude?: Magnitude
}

/** A weight with changes. */
export interface ChangedWeight {
  readonly module: string
  readonly embedding: boolean
  /** Of B·A. For embeddings, this is the transposed weight. */
  readonly rows: number
  readonly columns: number
  /** The shape of A without the rank. */
  readonly inputs: readonly number[]
  /** Whether a convolution would look the same, with the kernel as inputs. */
  readonly flat: boolean
  /** For a stack of experts: their number. A has the rows of expert after expert, and B the columns of rank after rank. */
  readonly experts?: number
  /** By adapter. */
  readonly changes: ReadonlyMap<string, WeightChange>
}

/** A bias with differences by adapters. */
export interface ChangedBias {
  readonly module: string
  readonly changes: ReadonlyMap<string, { readonly tensor: ValueTensor; readonly scale: number }>
}

export interface Changed {
  /** By the name of the weight in the network. */
  readonly weights: ReadonlyMap<string, ChangedWeight>
  readonly biases: ReadonlyMap<string, ChangedBias>
  /** By stored name: differences of vectors in LyCORIS (`diff_b`, `w_norm`, `b_norm`). */
  readonly differences: ReadonlyMap<string, ChangedBias>
  /** By name in the network: tensors that adapters saved whole. */
  readonly whole: ReadonlyMap<string, ReadonlyMap<string, ValueTensor>>
  /** Those that PEFT saved beneath the factors of a module: weights of the base, with the update on top of them. */
  readonly beneath: ReadonlySet<string>
}

/** The name of a weight, or of one expert's part of it. */
export const targetOf = (target: string, { experts }: ChangedWeight, expert: number): string =>
  experts === undefined ? target : `${target}[${expert}]`

/** The factors as matrices, of one expert if there are several. */
export function partOf(
  { a, b, rank }: LowFactors,
  scale: number,
  { rows, experts }: ChangedWeight,
  expert: number,
): LowRankPart {
  if (experts === undefined) return { a: a.expr, b: b.expr, rank, scale }
  const byExpert = reshape(viewOf(b), [rows, rank, experts])
  return {
    a: read({ kind: 'slice', of: viewOf(a), axis: 0, start: expert * rank, count: rank }),
    b: read(reshape({ kind: 'slice', of: byExpert, axis: 2, start: expert, count: 1 }, [rows, rank])),
    ...{ rank, scale },
  }
}

/** What one adapter can't be merged for. */
interface Refusal {
  readonly code: 'adapter-arithmetic' | 'adapter-shape'
  readonly message: string
}

const HINTS = {
  'adapter-arithmetic': 'apply each adapter to the base ({path: BASE, lora: ADAPTER}), and merge the models',
  'adapter-shape': 'merge adapters of the same base model',
} as const

type Growing<T extends { readonly changes: ReadonlyMap<string, unknown> }> = Omit<T, 'changes'> & {
  readonly changes: T['changes'] extends ReadonlyMap<string, infer C> ? Map<string, C> : never
}

/**
 * Collects what adapters change. Errors: `adapter-arithmetic` for updates that are not the product of two factors,
 * `adapter-shape` for changes of one weight with different sizes. Undefined after an error.
 */
export function changedBy(
  adapters: ReadonlyMap<string, ReadAdapter>,
  faults: Faults,
  placeOf: (adapter: string) => Place | undefined,
): Changed | undefined {
  const weights = new Map<string, Growing<ChangedWeight>>()
  const biases = new Map<string, Growing<ChangedBias>>()
  const differences = new Map<string, Growing<ChangedBias>>()
  const whole = new Map<string, Map<string, ValueTensor>>()
  const beneath = new Set<string>()
  let sound = true
  for (const [name, { content }] of adapters) {
    // An adapter of another kind or for another base has the same error in every module: the first one is enough.
    const refused = new Map<string, Refusal>()
    for (const update of content.updates) {
      const { module, parts, scale, target } = update
      const vector = update.kind === 'bias' ? parts.b : parts.diff?.shape.length === 1 ? parts.diff : undefined
      const refusal = vector
        ? addVector(update.kind === 'bias' ? biases : differences, target.name, module, name, { tensor: vector, scale })
        : addWeight(weights, name, update)
      if (refusal && !refused.has(refusal.code)) refused.set(refusal.code, refusal)
    }
    for (const { code, message } of refused.values())
      faults.error(code, `${name}: ${message}`, placeOf(name), HINTS[code])
    sound &&= refused.size === 0
    for (const [target, tensor] of content.replaced)
      whole.set(target, (whole.get(target) ?? new Map()).set(name, tensor))
    for (const target of content.beneath) beneath.add(target)
  }
  if (!sound) return undefined
  const vectors = { biases: sorted(biases), differences: sorted(differences) }
  return { weights: sorted(weights), ...vectors, whole: sorted(whole), beneath }
}

function addVector(
  vectors: Map<string, Growing<ChangedBias>>,
  target: string,
  module: string,
  adapter: string,
  change: ChangedBias['changes'] extends ReadonlyMap<string, infer C> ? C : never,
): Refusal | undefined {
  const { changes } = grown(vectors, target, { module })
  const [[first, other] = []] = changes
  const { shape } = change.tensor
  if (other && !sameShape(other.tensor.shape, shape))
    return {
      code: 'adapter-shape',
      message: `${target} has ${shape.join('×')} numbers, and ${other.tensor.shape.join('×')} in ${quote(first!)}`,
    }
  changes.set(adapter, change)
  return undefined
}

const sorted = <V>(map: ReadonlyMap<string, V>): ReadonlyMap<string, V> =>
  new Map([...map].sort(([a], [b]) => (a < b ? -1 : 1)))

/** The entry of a tensor, made for its first change. */
function grown<T extends object, C>(
  all: Map<string, T & { readonly changes: Map<string, C> }>,
  target: string,
  form: T,
): T & { readonly changes: Map<string, C> } {
  const own = all.get(target) ?? { ...form, changes: new Map<string, C>() }
  all.set(target, own)
  return own
}

function addWeight(weights: Map<string, Growing<ChangedWeight>>, name: string, update: Update): Refusal | undefined {
  const { module, target, start } = update
  const arithmetic = (why: string): Refusal => ({
    code: 'adapter-arithmetic',
    message: `its update of ${module} ${why}`,
  })
  if (start)
    return arithmetic(`takes a part from the weight first (init_lora_weights: ${start}), which only the base shows`)
  if (update.parts.bScale) return arithmetic('is VeRA, whose number of inputs only the base shows')
  if (target.rows) return arithmetic('changes only a part of the weight')
  const made = changeOf(update)
  if (made === 'unknown')
    return arithmetic(`is ${kindOf(update.kind).title}, whose change depends on the weight, which only the base shows`)
  if (!made)
    return { code: 'adapter-shape', message: `the tensors of ${module} do not fit each other: ${shapesOf(update)}` }
  const { change, ...sides } = made
  const before = weights.get(target.name)
  const own = grown<Omit<ChangedWeight, 'changes'>, WeightChange>(weights, target.name, {
    module,
    embedding: update.embedding === true,
    ...sides,
  })
  const [[first, other] = []] = own.changes
  const shown = ({ rows, inputs, experts }: Sides) =>
    `[${[...(experts === undefined ? [] : [experts]), rows, ...inputs].join(', ')}]`
  if (before && !(before.embedding === (update.embedding === true) && sameSides(before, sides)))
    return {
      code: 'adapter-shape',
      message: `it changes ${module} as a weight ${shown(sides)}, and ${quote(first!)} as one ${shown(before)}`,
    }
  if (other && sides.rows === sides.columns && layoutBy(change) !== layoutBy(other))
    return {
      code: 'adapter-shape',
      message: `${module} is square, and its version of PEFT (${change.version}) stores such experts in another way than that of ${quote(first!)} (${other.version})`,
    }
  // Not all kinds of updates show the kernel of a convolution.
  if (own.flat) weights.set(target.name, { ...own, inputs: sides.inputs, flat: sides.flat })
  own.changes.set(name, change)
  return undefined
}

type Sides = Pick<ChangedWeight, 'rows' | 'columns' | 'inputs' | 'flat' | 'experts'>

const shapesOf = ({ parts }: Update): string =>
  Object.entries(parts)
    .map(([role, { shape, dtype }]) => `${role} ${dtype} [${shape.join(', ')}]`)
    .join(', ')

/** The change by an update, with its sides. `unknown`: only the weight shows it. Undefined: its tensors do not fit each other. */
function changeOf(update: Update): ({ change: WeightChange } & Sides) | 'unknown' | undefined {
  const { kind, parts, scale, magnitude } = update
  if (!Object.values(parts).every(({ dtype }) => isFloat(dtype))) return undefined
  if (kind === 'experts') return expertChange(update)
  const { alone } = kindOf(kind)
  if (!alone) return 'unknown'
  const found = alone(update)
  if (!found) return undefined
  const { rows, inputs, flat = false, factors, whole } = found
  const change: WeightChange = {
    ...(factors ? { low: factors } : {}),
    ...(magnitude ? { magnitude } : {}),
    ...{ scale, whole, wide: Object.values(parts).some(({ dtype }) => dtype === 'F64') },
  }
  return { change, rows, columns: elements(inputs), inputs, flat }
}

function expertChange({ parts, scale, rank = 0, settings }: Update): ({ change: WeightChange } & Sides) | undefined {
  const { a, b } = parts as { a: ValueTensor; b: ValueTensor }
  const [stored = 0, ...inputs] = a.shape
  const [rows = 0, width, ...kernel] = b.shape
  const experts = stored / rank
  if (inputs.length === 0 || stored === 0 || width !== stored || kernel.length > 0) return undefined
  if (!Number.isInteger(experts)) return undefined
  const whole = (): Expr => {
    throw new Error('internal: a stack of experts as one matrix')
  }
  const wide = a.dtype === 'F64' || b.dtype === 'F64'
  const change: WeightChange = { low: { a, b, rank }, scale, whole, wide, version: String(settings?.version) }
  return { change, rows, columns: elements(inputs), inputs, flat: false, experts }
}

/** Whether two changes are of weights of one shape, as far as they show it. */
const sameSides = (one: Sides, other: Sides): boolean =>
  one.rows === other.rows &&
  one.columns === other.columns &&
  one.experts === other.experts &&
  (one.flat || other.flat || sameShape(withoutOnes(one.inputs), withoutOnes(other.inputs)))

/** Some trainers save layers as convolutions with a kernel of size 1. */
function withoutOnes(inputs: readonly number[]): readonly number[] {
  const last = inputs.findLastIndex((size) => size !== 1)
  return inputs.slice(0, Math.max(1, last + 1))
}

/** Equal for versions of PEFT that store square experts alike. */
function layoutBy({ version }: WeightChange): string | undefined {
  if (version === undefined) return undefined
  const [, minor = '', patch = ''] = /^0\.(\d+)\.(\d+)$/.exec(version) ?? []
  if (minor === '17' || minor === '18') return '0.17'
  return Number(minor) > 19 || (minor === '19' && patch !== '0') ? '0.19.1' : version
}
