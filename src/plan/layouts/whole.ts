/** Models that are not whole: a part of the network is missing, or there twice, or layers have different layouts. */
import { plural } from '../../core/words.js'
import { FAMILIES } from '../../layouts/index.js'
import { certaintyOf, formName, type Laid } from '../../layouts/model.js'
import type { Family, Settings } from '../../layouts/types.js'
import { faultsOf, type Twice, twiceIn, twinsOf, type WholeOptions } from '../../layouts/whole.js'
import { type Reading, someOf } from './convert.js'
import type { NamedForms } from './named.js'

interface Known {
  /** The layouts that the recipe names for this model and its base. */
  readonly named: NamedForms
  /** The configurations of all models that are computed with it. */
  readonly configs: readonly (Settings | undefined)[]
  /** Whether the output has the tensors of this model. */
  readonly isBase: boolean
}

/** The model without tensors that the layout which the recipe names does not have. Warning: `dropped-tensors`. */
export function withoutOthers({ recipe, name, at, faults }: Reading, named: NamedForms, model: Laid): Laid {
  let tensors = model.tensors
  for (const [family, form] of named) {
    if (form === 'mixed') continue
    const twins = new Set(twinsOf(family, form, tensors))
    if (twins.size === 0) continue
    tensors = new Map([...tensors].filter(([tensor]) => !twins.has(tensor)))
    faults.warn(
      'dropped-tensors',
      `${name} has parts of the network twice: terge uses those of ${formName(family, form)}, and skips ${plural(twins.size, 'tensor')}: ${someOf([...twins])}`,
      recipe.placeOf([...at, 'layout']),
      undefined,
      family.name,
    )
  }
  return tensors === model.tensors ? model : { ...model, tensors }
}

/** Error: `layout-misfit`. Returns whether the model is whole. */
export function refuseParts(reading: Reading, model: Laid, { named, configs, isBase }: Known): boolean {
  let whole = true
  const config = model.config ?? configs.find((one) => one !== undefined)
  for (const family of FAMILIES) {
    const sure = named.has(family) || certaintyOf(family, ...configs) !== undefined
    const stacked = isStacked(family)
    const twice = twiceIn(family, model).filter(({ all }) => sure || stacked || all)
    const found =
      twiceFault(reading, family, twice) ??
      // A network that terge does not know may number its experts otherwise.
      (sure || (stacked && !config)
        ? otherFault(
            reading,
            family,
            { ...model, config: sure ? config : undefined },
            {
              mixed: named.get(family) === 'mixed',
              complete: isBase && sure,
            },
          )
        : undefined)
    if (!found) continue
    whole = false
    const { recipe, at, faults } = reading
    faults.error('layout-misfit', found.message, recipe.placeOf(at, 'key'), found.hint, 'whole')
  }
  return whole
}

/** Whether a family has tensors of all experts. */
const isStacked = (family: Family): boolean =>
  family.forms.some(({ rules }) => rules.some(({ is }) => typeof is !== 'string' && 'stack' in is))

interface Found {
  readonly message: string
  readonly hint: string
}

function twiceFault({ name }: Reading, family: Family, [first, ...rest]: readonly Twice[]): Found | undefined {
  if (!first) return undefined
  const { whole, others } = first
  const parts = others.length > 1 ? `${others[0]} and ${plural(others.length - 1, 'more tensor')}` : others[0]
  const more = rest.length > 0 ? `, and so are ${plural(rest.length, 'more tensor')}` : ''
  const names = family.forms.map((form) => formName(family, form)).join(' or ')
  return {
    message: `a part of ${name} is there twice: ${whole} and ${parts}${more}`,
    hint: `remove one of them, or name the layout to use: ${name}: {path: …, layout: ${names}} (terge convert: --from)`,
  }
}

function otherFault({ name }: Reading, family: Family, model: Laid, options: WholeOptions): Found | undefined {
  const [first, ...rest] = faultsOf(family, model, options)
  if (!first) return undefined
  const more = rest.length > 0 ? ` (and ${plural(rest.length, 'more problem')})` : ''
  return first.needs === 'mixed'
    ? {
        message: `layers of ${name} have different layouts: ${first.tensor} ${first.message}${more}`,
        hint: `if this is right, write it: ${name}: {path: …, layout: ${family.name}/mixed} (terge convert: --from)`,
      }
    : {
        message: `${name} is not complete: ${first.tensor} ${first.message}${more}`,
        hint: 'use a complete model; if the configuration has another number of experts, correct it',
      }
}
