/** The short form of a recipe: steps as top-level keys. */
import { type Cursor, get, oneOrMore } from '../language/cursor.js'
import { SHORT_KINDS } from '../steps/index.js'
import type { StepDraft } from '../steps/types.js'

/** By model name: the step that replaces the model in the steps that follow. */
type Replaced = ReadonlyMap<string, string>

export interface ShortDraft extends StepDraft {
  /** What earlier steps have replaced. */
  readonly replaced: Replaced
}

export function shortForm(root: Cursor, models: ReadonlyMap<string, unknown>): readonly ShortDraft[] {
  const drafts: ShortDraft[] = []
  let replaced: Replaced = new Map()
  const taken = (name: string): boolean => models.has(name) || drafts.some((draft) => draft.name === name)
  for (const { kind, short, parts } of SHORT_KINDS) {
    const written = get(root, kind)
    for (const at of short.list ? oneOrMore(written) : written ? [written] : []) {
      const model = short.list?.replaces(at)
      const partsOf = (name: string) => parts?.of(name, at) ?? [{ name, model, place: undefined }]
      const name = freeName(model === undefined ? kind : `${kind}-${model}`, (name) =>
        partsOf(name).some((part) => taken(part.name)),
      )
      const own = partsOf(name)
      for (const { name: part, place } of own)
        drafts.push({ name: part, kind, at, replaced, ...(place === undefined ? {} : { part: { of: name, place } }) })
      const moved = own.flatMap(({ model, name }) => (model === undefined ? [] : [[model, name] as const]))
      replaced = new Map([...replaced, ...moved])
    }
  }
  return drafts
}

function freeName(name: string, isTaken: (name: string) => boolean): string {
  let number = 2
  if (!isTaken(name)) return name
  while (isTaken(`${name}-${number}`)) number++
  return `${name}-${number}`
}
