/** Names of modules in an adapter are those of the network in memory, and libraries store some networks in another form. */
import { sameShape } from '../../core/dtypes.js'
import { plural } from '../../core/words.js'
import type { Value, ValueTensor } from '../../expr/values.js'
import type { Faults } from '../../language/faults.js'
import type { RecipeHead } from '../../language/types.js'
import { FAMILIES } from '../../layouts/index.js'
import { certaintyOf, formName, ownForm, readAs } from '../../layouts/model.js'
import { standIns } from '../../layouts/standIns.js'
import type { Family } from '../../layouts/types.js'
import { shapeOf } from '../../views/shape.js'
import { mapStored, storedOf } from '../../views/stored.js'
import type { View } from '../../views/types.js'
import type { ExtractStep } from './types.js'

/** The form of networks in the memory of transformers 5, which PEFT changes. */
const MEMORY = 'transformers-5'

/** Both models as the network has them in memory. */
export interface InMemory {
  readonly from: Value
  readonly base: Value
  /** The names of the base's own tensors that a tensor is made of. */
  readonly storedNames: (name: string) => readonly string[]
}

type Config = Readonly<Record<string, unknown>> | undefined

/** How tensors in memory are made of stored ones: views of stored tensors by name. */
interface Form {
  readonly layout: string
  readonly made: ReadonlyMap<string, View>
}

/** The form of a family that the base has in memory and not in its files. */
function formIn(family: Family, { tensors: own }: Value, config: Config): Form | undefined {
  const memory = family.forms.find(({ name }) => name === MEMORY)
  if (!memory || certaintyOf(family, config) !== 'config') return undefined
  const laid = { tensors: standIns(own), config }
  const stored = ownForm(family, laid)
  if (!stored || stored === memory) return undefined
  const { problems, from, tensors } = readAs(family, stored, memory, laid)
  if (problems.length > 0 || from.size === 0) return undefined
  const made = new Map([...from.keys()].map((name) => [name, tensors.get(name)!.view] as const))
  return { layout: formName(family, memory), made }
}

/** Undefined after an error: `tensor-mismatch`. Warning: `other-layout`. */
export function inMemory(
  recipe: RecipeHead,
  step: ExtractStep,
  [from, base]: readonly [Value, Value],
  config: Config,
  faults: Faults,
): InMemory | undefined {
  const names = new Map<string, readonly string[]>()
  const storedNames = (name: string): readonly string[] => names.get(name) ?? [name]
  let both = { from, base }
  if (step.names === 'stored') return { ...both, storedNames }
  const place = recipe.placeOf([...step.at, step.key], 'value')
  const layouts: string[] = []
  for (const family of FAMILIES) {
    const form = formIn(family, both.base, config)
    if (!form) continue
    const { layout, made } = form
    const wrong = mismatch(made, both.from, both.base)
    if (wrong !== undefined) {
      const message = `${wrong} has another shape or dtype in ${step.from} than in ${step.base}, and it is a part of a tensor in memory`
      faults.error('tensor-mismatch', message, place, 'use models of the same shapes; another vocabulary is allowed')
      return undefined
    }
    const computed = [both.from, both.base].find((value) => [...made.values()].some((view) => !isReadable(view, value)))
    if (computed) {
      const message = `transformers 5 has ${plural(made.size, 'tensor')} of the network in another form (${layout}), and ${computed.name} is the result of a step, which is not put together: modules have the names of the files, and PEFT may not find them`
      faults.warn('other-layout', message, place, `write ${computed.name} to an output first, and extract from that`)
      continue
    }
    for (const [name, view] of made)
      names.set(
        name,
        storedOf(view).flatMap(({ tensor }) => storedNames(tensor)),
      )
    both = { from: changed(both.from, made), base: changed(both.base, made) }
    layouts.push(layout)
  }
  if (layouts.length > 0) {
    const message = `modules of the adapter have the names of transformers 5: ${layouts.join(', ')}`
    faults.warn('other-layout', message, place, 'names: stored keeps those of the files, as transformers 4 has them')
  }
  return { ...both, storedNames }
}

const isWhole = (view: View): view is View & { kind: 'stored' } => view.kind === 'stored'

/** Whether a tensor can be made of a value's tensors. Those that the value lacks are not made. */
const isReadable = (view: View, { tensors }: Value): boolean =>
  isWhole(view) || storedOf(view).every(({ tensor }) => (tensors.get(tensor)?.expr.kind ?? 'read') === 'read')

/** A tensor that can't be put together with others: it has another shape than in the base, or another dtype than they. */
function mismatch(made: Form['made'], from: Value, base: Value): string | undefined {
  for (const view of made.values()) {
    if (isWhole(view)) continue
    const names = storedOf(view).map(({ tensor }) => tensor)
    const dtypes = new Set(names.flatMap((name) => from.tensors.get(name)?.dtype ?? []))
    const wrong = names.find((name) => {
      const other = from.tensors.get(name)
      return other && (dtypes.size > 1 || !sameShape(base.tensors.get(name)!.shape, other.shape))
    })
    if (wrong !== undefined) return wrong
  }
  return undefined
}

/** A value with the tensors of another form in place of those that they are made of. */
function changed(value: Value, made: Form['made']): Value {
  const used = new Set([...made.values()].flatMap((view) => storedOf(view).map(({ tensor }) => tensor)))
  const kept = [...value.tensors].filter(([name]) => !used.has(name))
  const others = [...made].flatMap(([name, view]): [string, ValueTensor][] => {
    const parts = storedOf(view).map(({ tensor }) => value.tensors.get(tensor))
    const [first] = parts
    if (!first || parts.includes(undefined)) return []
    return [[name, isWhole(view) ? first : put(view, first, value)]]
  })
  return { ...value, tensors: new Map([...kept, ...others].sort(([a], [b]) => (a < b ? -1 : 1))) }
}

function put(view: View, { dtype }: ValueTensor, { tensors }: Value): ValueTensor {
  const read = mapStored(view, ({ tensor }) => {
    const { expr } = tensors.get(tensor)!
    if (expr.kind !== 'read') throw new Error('internal: a tensor of a step as a part of another one')
    return expr.view
  })
  return { dtype, shape: shapeOf(read), expr: { kind: 'read', view: read } }
}
