/** Updates that name tensors of another layout than the model's: as updates of the model's own tensors. */
import { kindOf } from '../../../adapters/kinds/index.js'
import { report } from '../../../adapters/misfit.js'
import type { Product, Update } from '../../../adapters/types.js'
import type { ValueTensor } from '../../../expr/values.js'
import type { Orientation } from '../../../networks/orientation.js'
import { mainStored, storedOf } from '../../../views/stored.js'
import type { Application } from '../application.js'
import type { OtherForm } from './other.js'
import { type Change, changeOf, productOf, through, together } from './product.js'

/** A change of one of the model's tensors. */
export interface PlacedProduct {
  readonly name: string
  readonly product: Product
  readonly scale: number
  /** For errors. */
  readonly module: string
}

/** A changed tensor of the other layout. */
interface Changed {
  readonly change: Change
  readonly scale: number
  readonly module: string
}

/**
 * The changes of the model's tensors by updates of tensors of another layout. Errors: those of the update's kind, and
 * `adapter-layout`.
 */
export function placed(
  { reporter }: Application,
  form: OtherForm,
  updates: readonly Update[],
  oriented: (module: string) => Orientation | undefined,
): readonly PlacedProduct[] {
  const changes = new Map<string, Changed>()
  const refuse = (module: string, why: string): undefined =>
    reporter.error(
      'adapter-layout',
      `${module} is stored in another layout in the model, and ${why}`,
      'write the model in the layout that the adapter was trained on (output: {layout: NAME}), and apply the adapter to the result',
    ) as undefined
  for (const update of updates) {
    const name = form.find(update.target.name)!
    const own = form.shapes.get(name)!
    const { module, scale, kind, magnitude, target } = update
    const weight = { ...own, expr: NOTHING, orientation: () => oriented(module) }
    const found = kindOf(kind).change(update, weight)
    if (!found) continue
    if (found.kind === 'misfit') report(found, module, reporter)
    else {
      const product = found.kind === 'add' && found.delta.kind === 'product' && !magnitude && !target.rows
      const change = product ? changeOf(found.delta as Product, own.shape) : undefined
      if (!change) refuse(module, `its ${kindOf(kind).title} has no two plain factors`)
      else if (changes.has(name)) refuse(module, 'the adapter changes it twice')
      else changes.set(name, { change, scale, module })
    }
  }
  const made: PlacedProduct[] = []
  for (const [name, view] of form.made) {
    const parts = new Set(storedOf(view).map(({ tensor }) => tensor))
    const own = new Map([...changes].filter(([part]) => parts.has(part)))
    const [first] = own.values()
    if (!first) continue
    const { module, scale } = first
    if ([...own.values()].some((other) => other.scale !== scale)) {
      refuse(module, 'its parts have different scales (alpha_pattern, rank_pattern)')
      continue
    }
    const change =
      parts.size === 1
        ? through(view, first.change, mainStored(view).tensor)
        : together(view, new Map([...own].map(([part, one]) => [part, one.change])))
    if (change) made.push({ name, product: productOf(change), scale, module })
    else refuse(module, 'its update has no two factors there')
  }
  return made
}

/** Changes of tensors that exist in another form only do not read them. */
const NOTHING: ValueTensor['expr'] = {
  kind: 'merge',
  ...{ step: '', method: 'passthrough', models: [], weights: [], parameters: {}, inputs: [] },
}
