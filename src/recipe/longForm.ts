/** The long form of a recipe: a graph of named steps. */
import { quote } from '../core/suggest.js'
import { type Cursor, entriesOf, get, has } from '../language/cursor.js'
import type { Report } from '../language/report.js'
import { KINDS, kindOf } from '../steps/index.js'
import type { StepDraft } from '../steps/types.js'

/** Steps can nest, and the code that walks them is recursive. */
const MOST_STEPS = 1000

/** Errors: `too-large`, `name-taken`, `bad-value`. */
export function longForm(steps: Cursor, models: ReadonlyMap<string, unknown>, report: Report): StepDraft[] {
  const entries = entriesOf(steps)
  if (entries.length > MOST_STEPS)
    report.error('too-large', `a recipe can have at most ${MOST_STEPS} steps, not ${entries.length}`, steps.path, {
      part: 'key',
      hint: 'split it into several recipes',
    })
  const written = new Set(entries.map(([name]) => name))
  /** Names of steps that are parts of a block. */
  const made = new Set<string>()
  const drafts = entries.slice(0, MOST_STEPS).flatMap(([name, at]): StepDraft[] => {
    const draft = draftOf(name, at, models, report)
    const parts = draft && kindOf(draft).parts
    const own = parts?.of(draft!.name, draft!.at)
    if (!draft || !parts || !own) return draft ? [draft] : []
    for (const { name, at } of own) {
      const who = models.has(name) ? 'model' : written.has(name) || made.has(name) ? 'step' : undefined
      if (who === undefined) continue
      const message = `this ${parts.noun} makes a model named ${quote(name)}, but a ${who} already has this name`
      report.error('name-taken', message, at, { hint: `rename the ${who} or the ${parts.noun}` })
    }
    for (const { name } of own) made.add(name)
    const of = draft.name
    return [
      ...own.map(({ name, place }) => ({ ...draft, name, part: { of, place } })),
      { ...draft, part: { of, place: 0 } },
    ]
  })
  return drafts.map((draft) =>
    made.has(draft.name) && !draft.part?.place ? { ...draft, name: nameOfTaken(draft.name) } : draft,
  )
}

function draftOf(
  name: string,
  at: Cursor,
  models: ReadonlyMap<string, unknown>,
  report: Report,
): StepDraft | undefined {
  const taken = models.has(name)
  if (taken) {
    const hint = 'give the step another name'
    report.error('name-taken', `${quote(name)} is already the name of a model`, at.path, { part: 'key', hint })
  }
  if (name.trim() === '' || /[\u0000-\u001f\u007f]/.test(name))
    report.error('bad-value', `${quote(name)} is not a valid step name`, at.path, {
      part: 'key',
      hint: 'write a name with visible characters',
    })
  const kind = KINDS.find(({ kind, inner }) => !inner && has(at, kind))?.kind
  const inner = kind && get(at, kind)
  return kind && inner && { name: taken ? nameOfTaken(name) : name, kind, at: inner }
}

/** For a step whose name is already used, so that references to the name do not refer to this step. */
const nameOfTaken = (name: string): string => `${name} (step)`
