/** Tensors that the model has under another name than the layout that an adapter was trained on. */
import type { AdapterContent, Network, Update } from '../../../adapters/types.js'
import type { View } from '../../../views/types.js'
import { moduleName } from '../application.js'
import type { OtherForm } from './other.js'

interface Place {
  readonly name: string
  readonly rows?: { readonly start: number; readonly count: number }
}

const cached = new WeakMap<OtherForm, ReadonlyMap<string, Place>>()

/** By name in the other layout: the model's tensor that is the same one, or has its rows beside those of others. */
function placesOf(form: OtherForm): ReadonlyMap<string, Place> {
  const known = cached.get(form)
  if (known) return known
  const places = new Map<string, Place>()
  const twice = new Set<string>()
  const add = (tensor: string, place: Place): void => {
    if (places.has(tensor)) twice.add(tensor)
    places.set(tensor, place)
  }
  for (const [name, view] of form.made) for (const { tensor, rows } of rowsOf(view)) add(tensor, { name, ...rows })
  for (const tensor of twice) places.delete(tensor)
  cached.set(form, places)
  return places
}

/** The whole tensors that a view has the rows of, one after another. */
function rowsOf(view: View): readonly { readonly tensor: string; readonly rows: Omit<Place, 'name'> }[] {
  if (view.kind === 'stored') return [{ tensor: view.tensor, rows: {} }]
  if (view.kind !== 'concat' || view.axis !== 0) return []
  const found: { tensor: string; rows: Omit<Place, 'name'> }[] = []
  let start = 0
  for (const part of view.parts) {
    if (part.kind !== 'stored') return []
    const count = part.shape[0]!
    found.push({ tensor: part.tensor, rows: { rows: { start, count } } })
    start += count
  }
  return found
}

/**
 * The update of the model's own tensor. Undefined if the tensor is made in another way. Products of two factors for some rows
 * become one product for all rows elsewhere.
 */
export function renamed(update: Update, form: OtherForm): Update | undefined {
  const { kind, target, magnitude } = update
  const place = target.rows ? undefined : placesOf(form).get(form.find(target.name)!)
  if (!place) return undefined
  const product = (kind === 'lora' || kind === 'experts') && !magnitude
  return place.rows && product ? undefined : { ...update, target: place }
}

/** The adapter with the model's own names for tensors that were saved whole, as far as they are whole tensors of the model. */
export function savedHere(
  adapter: AdapterContent,
  { find }: Network,
  others: () => readonly OtherForm[],
): AdapterContent {
  const modules = new Map<string, string>()
  const own = (name: string): string => {
    if (find(name) !== undefined) return name
    const form = others().find((other) => other.find(name) !== undefined)
    const place = form && placesOf(form).get(form.find(name)!)
    if (!place || place.rows) return name
    modules.set(moduleName(place.name), moduleName(name))
    return place.name
  }
  const replaced = new Map([...adapter.replaced].map(([name, tensor]) => [own(name), tensor] as const))
  if (modules.size === 0) return adapter
  return {
    ...{ ...adapter, replaced, beneath: new Set([...adapter.beneath].map(own)) },
    isSaved: (module) => adapter.isSaved(module) || adapter.isSaved(modules.get(module) ?? module),
  }
}
