/** The steps of a recipe, in the long form or the short one, and what each uses. */
import { quote } from '../core/suggest.js'
import { type Cursor, get, has } from '../language/cursor.js'
import { resolveName, type Scope } from '../language/names.js'
import { kindOf, SHORT_KINDS, type Step } from '../steps/index.js'
import type { StepDraft } from '../steps/types.js'
import { longForm } from './longForm.js'
import { shortForm } from './shortForm.js'

/** A step, and where it names each model or step that it uses. */
export interface LinkedStep {
  readonly step: Step
  readonly uses: readonly { readonly name: string; readonly at: Cursor }[]
  /** The name of what is written: of several steps that one block stands for, that block's. */
  readonly written: string
}

export interface LinkedSteps {
  readonly linked: readonly LinkedStep[]
  /** For what stands beside the steps. */
  readonly scope: Scope
}

export function readSteps(root: Cursor, { models, report }: Pick<Scope, 'models' | 'report'>): LinkedSteps {
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
  // Names that the short form gives its steps are not the recipe's to use.
  const names = steps ? drafts.map(({ name }) => name) : []
  const scope: Scope = { models, steps: names, replaced: drafts.at(-1)?.replaced ?? nothing, report }
  const linked = drafts.flatMap(({ replaced, ...draft }, index) => {
    const step = linkStep(draft, drafts[index - 1], root, { ...scope, replaced })
    return step ? [step] : []
  })
  // A key of the root that no step reads still has to make sense.
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
