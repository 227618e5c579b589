/** The weights that adapters change, with the change of each adapter. */
import type { Update } from '../../../adapters/types.js'
import type { Place } from '../../../core/diagnostics.js'
import { elements } from '../../../core/dtypes.js'
import { quote } from '../../../core/suggest.js'
import { isFloat } from '../../../encodings/index.js'
import { sameShape, type ValueTensor } from '../../../expr/values.js'
import type { Faults } from '../../../language/faults.js'
import type { ReadAdapter } from '../../types.js'

/** The low-rank change of a weight by one adapter: scale · B·A. */
export interface Factors {
  readonly a: ValueTensor
  readonly b: ValueTensor
  readonly rank: number
  readonly scale: number
}

/** A weight with low-rank changes. */
export interface ChangedWeight {
  readonly module: string
  readonly embedding: boolean
  /** Of B·A. For embeddings, this is the transposed weight. */
  readonly rows: number
  readonly columns: number
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

/**
 * Collects what adapters change. Errors: `adapter-arithmetic` for updates that have no two factors, `adapter-shape` for
 * changes of one weight with different sizes. Undefined after an error.
 */
export function changedBy(
  adapters: ReadonlyMap<string, ReadAdapter>,
  faults: Faults,
  placeOf: (adapter: string) => Place | undefined,
): Changed | undefined {
  const weights = new Map<string, Omit<ChangedWeight, 'changes'> & { readonly changes: Map<string, Factors> }>()
  const biases = new Map<
    string,
    { readonly module: string; readonly changes: Map<string, { tensor: ValueTensor; scale: number }> }
  >()
  const whole = new Map<string, Map<string, ValueTensor>>()
  let sound = true
  const refused = new Set<string>()
  for (const [name, { content }] of adapters) {
    const refuse = (code: 'adapter-arithmetic' | 'adapter-shape', message: string, hint: string): void => {
      sound = false
      // An adapter of another kind or for another base has the same error in every module.
      if (!refused.has(`${name} ${code}`)) faults.error(code, `${name}: ${message}`, placeOf(name), hint)
      refused.add(`${name} ${code}`)
    }
    for (const update of content.updates) {
      const { module, parts, scale, target } = update
      if (update.kind === 'bias') {
        const own = biases.get(target.name) ?? { module, changes: new Map() }
        biases.set(target.name, own)
        own.changes.set(name, { tensor: parts.b!, scale })
        continue
      }
      const made = update.kind === 'lora' && !target.rows && !update.magnitude ? factorsOf(update) : undefined
      if (!made) {
        refuse(
          'adapter-arithmetic',
          `its update of ${module} is not the product of two factors, and terge merges only such updates with each other`,
          'apply each adapter to the base ({path: BASE, lora: ADAPTER}), merge the models, and extract an adapter',
        )
        continue
      }
      const { factors, rows, columns } = made
      const known = weights.get(target.name)
      const own = known ?? {
        module,
        embedding: update.embedding === true,
        rows,
        columns,
        changes: new Map<string, Factors>(),
      }
      const [[first, other] = []] = own.changes
      if (first !== undefined && !sameSides(factors, other!)) {
        const shapes = ({ a, b }: Factors) => `A [${a.shape.join(', ')}] and B [${b.shape.join(', ')}]`
        refuse(
          'adapter-shape',
          `${module} has ${shapes(factors)}, but ${shapes(other!)} in ${quote(first)}`,
          'merge adapters of the same base model',
        )
        continue
      }
      weights.set(target.name, own)
      own.changes.set(name, factors)
    }
    for (const [target, tensor] of content.replaced)
      whole.set(target, (whole.get(target) ?? new Map()).set(name, tensor))
  }
  return sound ? { weights: sorted(weights), biases: sorted(biases), whole: sorted(whole) } : undefined
}

const sorted = <V>(map: ReadonlyMap<string, V>): ReadonlyMap<string, V> =>
  new Map([...map].sort(([a], [b]) => (a < b ? -1 : 1)))

function factorsOf({ parts, scale }: Update): { factors: Factors; rows: number; columns: number } | undefined {
  const { a, b } = parts
  if (!a || !b || Object.keys(parts).length > 2) return undefined
  const [rank = 0, ...into] = a.shape
  const [rows = 0, width, ...kernel] = b.shape
  if (into.length === 0 || rank === 0 || width !== rank || kernel.some((size) => size !== 1)) return undefined
  if (!isFloat(a.dtype) || !isFloat(b.dtype)) return undefined
  return { factors: { a, b, rank, scale }, rows, columns: elements(into) }
}

/** Whether two pairs of factors differ only in their rank. */
const sameSides = (one: Factors, other: Factors): boolean =>
  sameShape(one.a.shape.slice(1), other.a.shape.slice(1)) &&
  sameShape([one.b.shape[0]!, ...one.b.shape.slice(2)], [other.b.shape[0]!, ...other.b.shape.slice(2)])
