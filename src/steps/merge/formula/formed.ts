/** Methods that are made of a recipe's formula: which method it is, and the errors in it with their places. */
import { didYouMean, quote } from '../../../core/suggest.js'
import { type Cursor, entriesOf, get, isMapping, textOf } from '../../../language/cursor.js'
import type { Report } from '../../../language/report.js'
import { lookupMethod, withInner } from '../../../methods/registry.js'
import type { Method, Written } from '../../../methods/types.js'
import { isBlocks } from '../blocks.js'
import type { Parameters } from '../parameters.js'
import type { MergeSettings } from '../types.js'

/** Parameters as a rule has them: those of the merge, and its own instead of them. */
function writtenIn(at: Cursor | undefined, inherited: Parameters | undefined): Written {
  const before = inherited?.get('formula')?.value
  const own = new Map(
    [...(inherited ?? [])]
      .filter(([name]) => name !== 'formula')
      .map(([name, { value }]) => [name, { perModel: value.kind === 'per-model' }]),
  )
  for (const [name, item] of entriesOf(at))
    if (name !== 'formula') own.set(name, { perModel: isMapping(item) && !isBlocks(item) })
  const text = get(at, 'formula')
  return { text: text ? textOf(text) : before?.kind === 'scalar' ? String(before.value) : undefined, own }
}

/** An open method as the recipe's parameters make it. Names that it can't use are not among its parameters. */
export function formedMethod(method: Method, at: Cursor | undefined, inherited: Parameters | undefined): Method {
  const { open } = method
  if (!open) return method
  const { text, own } = writtenIn(at, inherited)
  return open.with({ text, own: new Map([...own].filter(([name]) => open.refusesName(name) === undefined)) })
}

const writtenOf = (parameters: Parameters): Written => writtenIn(undefined, parameters)

/** The method of settings: with the inner one that they name, or made of their formula. */
export function methodOf({ method, parameters }: MergeSettings): Method | undefined {
  const found = lookupMethod(method)
  if (found?.open) return found.open.with(writtenOf(parameters))
  const inner = parameters.get('inner')?.value
  return found && withInner(found, inner?.kind === 'scalar' ? inner.value : undefined)
}

/** What is merged, as far as it is known. */
interface Merged {
  readonly models: number | undefined
  /** The hint of `missing-base`, if the recipe names no base. */
  readonly baseHint: string | undefined
}

/**
 * Reports errors in a formula, and parameters that it does not use. Errors: `bad-formula`, `missing-base`,
 * `unknown-parameter`.
 */
export function checkFormula(
  method: Method,
  parameters: Parameters,
  at: Cursor | undefined,
  { models, baseHint }: Merged,
  report: Report,
): void {
  const { open } = method
  const found = parameters.get('formula')
  if (!open || !found) return
  const written = writtenOf(parameters)
  const place = (part: { start: number; end: number }) => ({ offset: part.start, length: part.end - part.start })
  const faults = open.faults(written, models)
  for (const { code, message, hint, at } of faults) report.error(code, message, found.at, { hint, within: place(at) })
  if (faults.length > 0) return
  const { baseAt, names } = open.uses(written)
  if (baseAt && baseHint !== undefined)
    report.error('missing-base', 'the formula needs a base model, but the recipe does not name one', found.at, {
      hint: baseHint,
      within: place(baseAt),
    })
  for (const [name, item] of entriesOf(at)) {
    if (name === 'formula' || names.has(name) || open.refusesName(name) !== undefined) continue
    const hint = didYouMean(name, names, 'its parameters') ?? 'remove it, or use it in the formula'
    report.error('unknown-parameter', `the formula does not use ${quote(name)}`, item.path, { part: 'key', hint })
  }
}

/** Whether a tensor's layer is one of the method's numbers. */
export const usesLayer = ({ open }: Method, { parameters }: MergeSettings): boolean =>
  open?.uses(writtenOf(parameters)).layer === true
