/** The other layouts that a model can be read in: adapters name tensors of the layout that they were trained on. */
import type { Value, ValueTensor } from '../../../expr/values.js'
import { FAMILIES } from '../../../layouts/index.js'
import { certaintyOf, type Laid, ownForm, readAs } from '../../../layouts/model.js'
import { standIns } from '../../../layouts/standIns.js'
import type { Settings } from '../../../layouts/types.js'
import type { View } from '../../../views/types.js'
import { finder } from '../finder.js'

/** A model in another layout. */
export interface OtherForm {
  /** By name in that layout: the tensors that the model has not under this name. */
  readonly shapes: ReadonlyMap<string, Pick<ValueTensor, 'shape' | 'dtype'>>
  readonly find: (name: string) => string | undefined
  /** By the model's own name: how the tensor is made of tensors of that layout, which are stored views with their names. */
  readonly made: ReadonlyMap<string, View>
}

/** All layouts but the model's own, of the families that it certainly is of. */
export function otherForms({ tensors }: Value, config: Settings | undefined): readonly OtherForm[] {
  const laid: Laid = { tensors: standIns(tensors), config }
  return FAMILIES.flatMap((family) => {
    const own = certaintyOf(family, config) && ownForm(family, laid)
    if (!own || own === 'mixed') return []
    return family.forms
      .filter((form) => form !== own)
      .flatMap((form): OtherForm[] => {
        const there = readAs(family, own, form, laid)
        if (there.problems.length > 0 || there.from.size === 0) return []
        const back = readAs(family, form, own, { tensors: standIns(there.tensors), config })
        if (back.problems.length > 0) return []
        const shapes = new Map([...there.from.keys()].map((name) => [name, there.tensors.get(name)!] as const))
        const made = new Map([...back.from.keys()].map((name) => [name, back.tensors.get(name)!.view] as const))
        const find = finder(new Map([...shapes.keys()].map((name) => [name, undefined])))
        return [{ shapes, find, made }]
      })
  })
}
