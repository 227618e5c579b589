/** The licenses of a plan's models, for people and programs. */
import { termsText } from '../../lineage/history/terms.js'
import type { License } from '../../lineage/types.js'
import type { Prepared } from '../plan.js'

/** A model of a plan, and the terms that it is under as far as they are known. */
export interface ModelLicense {
  /** The name in the recipe. */
  readonly model: string
  /** As in the recipe. */
  readonly reference: string
  /** The commit of a model on the hub, or the revision of one in a store. */
  readonly revision?: string
  /** The hub's word, the name or the address of the license, or `unknown`. */
  readonly terms: string
  /** What its card and its license file say. */
  readonly license?: License
}

/** The licenses of a plan's models, in the order of the plan. Reads nothing more. Never throws. */
export const planLicenses = ({ plan, models }: Pick<Prepared, 'plan' | 'models'>): ModelLicense[] =>
  plan.models.map(({ name, reference, revision }) => {
    const license = models.get(name)?.records?.license
    return {
      ...{ model: name, reference },
      ...(revision === undefined ? {} : { revision }),
      terms: termsText(license),
      ...(license ? { license } : {}),
    }
  })
