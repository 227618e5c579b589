/** The weights that adapters change, with the change of each adapter. */
import type { Update } from '../../../adapters/types.js'
import { read, reshape, spread, viewOf } from '../../../adapters/views.js'
import type { Place } from '../../../core/diagnostics.js'
import { elements, sameShape } from '../../../core/dtypes.js'
import { quote } from '../../../core/suggest.js'
import { isFloat } from '../../../encodings/index.js'
import type { LowRankPart, MergeExpr } from '../../../expr/types.js'
import type { ValueTensor } from '../../../expr/values.js'
import type { Faults } from '../../../language/faults.js'
import type { ReadAdapter } from '../../types.js'

/** The low-rank change of a weight by one adapter: scale · B·A. */
export interface Factors {
  readonly a: ValueTensor
  readonly b: ValueTensor
  /** Of each expert, if there are several. */
  readonly rank: number
  readonly scale: number
  /** For experts: the version of PEFT, which decides how square ones are stored. */
  readonly version?: string
}

/** A weight with low-rank changes. */
export interface ChangedWeight {
  readonly module: string
  readonly embedding: boolean
  /** Of B·A. For embeddings, this is the transposed weight. */
  readonly rows: number
  readonly columns: number
  /** For a stack of experts: their number. A has the rows of expert after expert, and B the columns of rank after rank. */
  readonly experts?: number
  /** By adapter. */
  readonly changes: ReadonlyMap<string, Factors>
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
  /** By name in the network: tensors that adapters saved whole. */
  readonly whole: ReadonlyMap<string, ReadonlyMap<string, ValueTensor>>
}

/** The name of a weight, or of one expert's part of it. */
export const targetOf = (target: string, { experts }: ChangedWeight, expert: number): string =>
  experts === undefined ? target : `${target}[${expert}]`

/** The factors as matrices, of one expert if there are several. */
export function partOf({ a, b, rank, scale }: Factors, { rows, experts }: ChangedWeight, expert: number): LowRankPart {
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
  const whole = new Map<string, Map<string, ValueTensor>>()
  let sound = true
  for (const [name, { content }] of adapters) {
    // An adapter of another kind or for another base has the same error in every module: the first one is enough.
    const refused = new Map<string, Refusal>()
    for (const update of content.updates) {
      const { module, parts, scale, target } = update
      const refusal =
        update.kind === 'bias'
          ? void grown(biases, target.name, { module }).changes.set(name, { tensor: parts.b!, scale })
          : addWeight(weights, name, update)
      if (refusal && !refused.has(refusal.code)) refused.set(refusal.code, refusal)
    }
    for (const { code, message } of refused.values())
      faults.error(code, `${name}: ${message}`, placeOf(name), HINTS[code])
    sound &&= refused.size === 0
    for (const [target, tensor] of content.replaced)
      whole.set(target, (whole.get(target) ?? new Map()).set(name, tensor))
  }
  return sound ? { weights: sorted(weights), biases: sorted(biases), whole: sorted(whole) } : undefined
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
  const { module, target, magnitude, start } = update
  if (magnitude)
    return {
      code: 'adapter-arithmetic',
      message: `its update of ${module} is DoRA, which scales the updated weight to given norms: such updates do not add up`,
    }
  if (start)
    return {
      code: 'adapter-arithmetic',
      message: `its update of ${module} takes a part from the weight first (init_lora_weights: ${start}), which only the base shows`,
    }
  const made = target.rows ? undefined : factorsOf(update)
  if (!made)
    return {
      code: 'adapter-arithmetic',
      message: `its update of ${module} is not the product of two factors, and terge merges only such updates with each other`,
    }
  const { factors, ...sides } = made
  const own = grown<Omit<ChangedWeight, 'changes'>, Factors>(weights, target.name, {
    module,
    embedding: update.embedding === true,
    ...sides,
  })
  const [[first, other] = []] = own.changes
  const shapes = ({ a, b }: Factors) => `A [${a.shape.join(', ')}] and B [${b.shape.join(', ')}]`
  if (other && !(sameSides(factors, other) && own.experts === sides.experts))
    return {
      code: 'adapter-shape',
      message: `${module} has ${shapes(factors)}, but ${shapes(other)} in ${quote(first!)}`,
    }
  if (other && sides.rows === sides.columns && layoutBy(factors) !== layoutBy(other))
    return {
      code: 'adapter-shape',
      message: `${module} is square, and its version of PEFT (${factors.version}) stores such experts in another way than that of ${quote(first!)} (${other.version})`,
    }
  own.changes.set(name, factors)
  return undefined
}

/** The factors of an update, with their sides. Undefined for updates that are not the product of two matrices. */
function factorsOf({
  kind,
  parts,
  scale,
  rank: written,
  settings,
}: Update): ({ factors: Factors } & Pick<ChangedWeight, 'rows' | 'columns' | 'experts'>) | undefined {
  const { a, b } = parts
  if (
    (kind !== 'lora' && kind !== 'experts') ||
    !a ||
    !b ||
    !Object.keys(parts).every((role) => ['a', 'b', 'alpha'].includes(role))
  )
    return undefined
  const [stored = 0, ...into] = a.shape
  const [rows = 0, width, ...kernel] = b.shape
  if (into.length === 0 || stored === 0 || width !== stored || kernel.some((size) => size !== 1)) return undefined
  if (!isFloat(a.dtype) || !isFloat(b.dtype)) return undefined
  const columns = elements(into)
  if (kind === 'lora') {
    const scaled = parts.alpha ? times(b, parts.alpha) : b
    return { factors: { a, b: scaled, rank: stored, scale }, rows, columns }
  }
  const rank = written ?? 0
  const experts = stored / rank
  if (!Number.isInteger(experts)) return undefined
  return { factors: { a, b, rank, scale, version: String(settings?.version) }, rows, columns, experts }
}

/** A factor times the only element of a tensor. */
function times(factor: ValueTensor, by: ValueTensor): ValueTensor {
  const count = elements(factor.shape)
  const spreadOut = read(reshape(spread(reshape(viewOf(by), [1]), 0, count), factor.shape))
  const expr: MergeExpr = {
    ...{ kind: 'merge', step: 'alpha', method: 'adapter-product', models: ['alpha'], weights: [1] },
    ...{ parameters: { scale: 1 }, inputs: [factor.expr, spreadOut] },
  }
  return { ...factor, expr }
}

/** Whether two pairs of factors differ only in their rank. */
const sameSides = (one: Factors, other: Factors): boolean =>
  sameShape(one.a.shape.slice(1), other.a.shape.slice(1)) &&
  sameShape([one.b.shape[0]!, ...one.b.shape.slice(2)], [other.b.shape[0]!, ...other.b.shape.slice(2)])

/** Equal for versions of PEFT that store square experts alike. */
function layoutBy({ version }: Factors): string | undefined {
  if (version === undefined) return undefined
  const [, minor = '', patch = ''] = /^0\.(\d+)\.(\d+)$/.exec(version) ?? []
  if (minor === '17' || minor === '18') return '0.17'
  return Number(minor) > 19 || (minor === '19' && patch !== '0') ? '0.19.1' : version
}
