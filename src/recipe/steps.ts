/** The steps of a recipe, in the long or the short form, and what each step uses. */
import { quote } from '../core/suggest.js'
import { type Cursor, get, has } from '../language/cursor.js'
import { resolveName, type Scope } from '../language/names.js'
import { kindOf, SHORT_KINDS, type Step } from '../steps/index.js'
import type { StepDraft } from '../steps/types.js'
import { longForm } from './longForm.js'
import { shortForm } from './shortForm.js'

/** A step, and the places where it refers to models and steps. */
export interface LinkedStep {
  readonly step: Step
  readonly uses: readonly { readonly name: string; readonly at: Cursor }[]
  /** The name in the recipe. Several steps can come from one block: then the name of the block. */
  readonly written: string
}

export interface LinkedSteps {
  readonly linked: readonly LinkedStep[]
  /** For keys outside the steps. */
  readonly scope: Scope
}

export function readSteps(
  root: Cursor,
  { models, groups, report, adapters }: Pick<Scope, 'models' | 'groups' | 'report' | 'adapters'>,
): LinkedSteps {
  const first = SHORT_KINDS.find(({ kind }) => has(root, kind))?.kind
  const steps = get(root, 'steps')
  if (steps && first !== undefined) {
    const message = `a recipe can't have both ${quote(first)} (the short form) and 'steps' (the long form)`
    const hint = `move ${first} into steps, as NAME: {${first}: …}`
    report.error('contradiction', message, [first], { part: 'key', hint })
  }
  const nothing: Scope['replaced'] = new Map()
  const drafts = steps
    ? longForm(steps, models, report).map((draft) => ({ ...draft, replaced: nothing }))
    : shortForm(root, models)
  // The recipe can't refer to names that the short form generates.
  const names = steps ? drafts.map(({ name }) => name) : []
  const scope: Scope = {
    models,
    groups,
    steps: names,
    replaced: drafts.at(-1)?.replaced ?? nothing,
    report,
    renewed: new Set(drafts.flatMap((draft) => (kindOf(draft).renews ? [draft.name] : []))),
    ...(adapters ? { adapters } : {}),
  }
  const linked = drafts.flatMap(({ replaced, ...draft }, index) => {
    const step = linkStep(draft, drafts[index - 1], root, { ...scope, replaced })
    return step ? [step] : []
  })
  // A top-level key that no step reads is still checked.
  const isRead = drafts.some((draft) => kindOf(draft).short?.beside?.includes('base'))
  if (!isRead) resolveName(get(root, 'base'), { ...scope, replaced: nothing })
  return { linked, scope }
}

function linkStep(draft: StepDraft, before: StepDraft | undefined, root: Cursor, scope: Scope): LinkedStep | undefined {
  const uses: { name: string; at: Cursor }[] = []
  const step = kindOf(draft).read(draft, {
    root,
    scope,
    before,
    use(at) {
      const name = resolveName(at, scope)?.name ?? ''
      if (at && name !== '') uses.push({ name, at })
      return name
    },
    uses: (name, at) => uses.push({ name, at }),
  })
  return step && { step, uses, written: draft.part?.of ?? draft.name }
}
