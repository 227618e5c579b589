/** Layouts for people and programs: those that terge knows, and those that a model has. */
import { FAMILIES, layoutName } from '../layouts/index.js'
import { certaintyOf, formName, modelTypesIn } from '../layouts/model.js'
import { evidenceOf } from '../layouts/recognise.js'
import type { Family, FamilyForm } from '../layouts/types.js'

/** A layout that terge knows. */
export interface KnownLayout {
  /** `mixtral/released`. */
  readonly name: string
  /** The networks: `Mixtral, MiniMax`. */
  readonly networks: string
  /** What it looks like. */
  readonly says: string
  /** The values of `model_type` in `config.json` that make it certain. */
  readonly types: readonly string[]
  /** Whether names and shapes alone make it certain. */
  readonly byNames: boolean
}

/** All layouts that terge knows, by name. Never throws. */
export const listLayouts = (): KnownLayout[] =>
  FAMILIES.flatMap((family) => family.forms.map((form) => known(family, form)))

const known = (family: Family, form: FamilyForm): KnownLayout => ({
  name: layoutName({ family, form }),
  networks: family.title,
  says: form.says,
  types: family.types,
  byNames: family.byNames === true,
})

/** What a model's layouts depend on: a `Checkpoint` has it. */
export interface ModelFacts {
  /** The tensors by name. */
  readonly tensors: ReadonlyMap<string, { readonly shape: readonly number[] }>
  /** The content of `config.json`. */
  readonly config?: Readonly<Record<string, unknown>>
}

/** A layout that a model has or may have. */
export interface ModelLayout {
  /** `mixtral/released`; `mixtral/mixed` if some tensors have one layout of the family and some another. */
  readonly name: string
  /** The networks: `Mixtral, MiniMax`. */
  readonly networks: string
  /** What it looks like; absent for a mixture. */
  readonly says?: string
  /** Whether terge uses it without being asked. */
  readonly certain: boolean
  /** Why it is certain, or why not. */
  readonly why: string
  /** The `model_type`s of the model, if they are those of another network, which only has the same names. */
  readonly otherTypes?: readonly string[]
  /** The layouts that terge can read the model in: for `layout` of an output. */
  readonly others: readonly string[]
}

/** The layouts of a model by its names, shapes and configuration: certain ones first. Reads no tensor data. Never throws. */
export function modelLayouts({ tensors: shapes, config }: ModelFacts): ModelLayout[] {
  const types = modelTypesIn(config)
  const found = FAMILIES.flatMap((family): ModelLayout[] => {
    const { possible, sure, mixed } = evidenceOf(family, { config, shapes })
    const certainty = certaintyOf(family, config)
    const own = mixed ? ['mixed' as const] : possible
    return own.map((form) => {
      const certain = certainty !== undefined && (sure || mixed !== undefined)
      return {
        name: formName(family, form),
        networks: family.title,
        ...(form === 'mixed' ? {} : { says: form.says }),
        certain,
        why: whyOf(family, config, { certainty, alone: own.length === 1 }),
        ...(certainty === undefined && types.length > 0 ? { otherTypes: types } : {}),
        others: family.forms.filter((other) => other !== form).map((other) => layoutName({ family, form: other })),
      }
    })
  })
  // A configuration that names one network's layouts rules out those that only share names.
  const declared = FAMILIES.some((family) => certaintyOf(family, config) === 'config')
  return found
    .filter(({ certain, name }) => certain || !declared || isOf(name, config))
    .sort((a, b) => Number(b.certain) - Number(a.certain))
}

/** Whether the configuration says that a model has the network of this layout: it may still have several forms. */
const isOf = (name: string, config: ModelFacts['config']): boolean =>
  FAMILIES.some((family) => name.startsWith(`${family.name}/`) && certaintyOf(family, config) === 'config')

function whyOf(
  family: Family,
  config: ModelFacts['config'],
  { certainty, alone }: { readonly certainty: ReturnType<typeof certaintyOf>; readonly alone: boolean },
): string {
  if (!alone) return 'names and shapes fit more than one layout'
  const types = modelTypesIn(config)
  if (certainty === 'config') return `model_type is ${types.find((type) => family.types.includes(type))}`
  if (certainty === 'names') return 'no other network has these names and shapes'
  return types.length > 0
    ? `names fit, but model_type is ${types.join(', ')}`
    : 'names fit, but no configuration says which network it is'
}
