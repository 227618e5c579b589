/** The history of a model as lines of text. */
import { printable } from '../../core/printable.js'
import { methodsOf } from '../forms/standard/method.js'
import type { Lineage } from '../types.js'
import { termsText } from './terms.js'
import type { Ancestor } from './types.js'

/** A model in a tree. */
export interface HistoryBranch {
  readonly text: string
  readonly branches: readonly HistoryBranch[]
}

/** The methods that made a model, without copies unless there is nothing else. */
export function methodText(lineage: Lineage): string {
  const methods = methodsOf(lineage).map(({ method }) => method)
  const made = methods.filter((method) => method !== 'copy')
  return (made.length > 0 ? made : methods).join(', ')
}

/** What is known of how an input was made, in words. */
export function originText(origin: Ancestor['origin']): string {
  switch (origin.kind) {
    case 'unknown':
      return ''
    case 'card':
      return 'made with terge, as its card says (not checked)'
    case 'lineage':
      return `made with terge ${origin.read.lineage.terge}: ${methodText(origin.read.lineage)}; recorded digests agree`
    case 'refused':
      return `has a lineage that is NOT TRUSTED: ${origin.why}`
    case 'stopped':
      return `not followed: ${origin.why}`
  }
}

/** Each input with its own inputs. A model that several others were made from is shown in full once. */
export function historyBranches(ancestors: readonly Ancestor[], shown = new Set<string>()): HistoryBranch[] {
  return ancestors.map(({ name, model, origin }) => {
    const revision =
      model.revision === undefined || model.reference.includes(model.revision) ? '' : ` at ${model.revision}`
    const terms = model.license ? `, ${termsText(model.license)}` : ''
    const facts = originText(origin)
    const text = printable(`${name}: ${model.reference}${revision}${terms}${facts === '' ? '' : ` — ${facts}`}`)
    if (origin.kind === 'card')
      return { text, branches: origin.bases.map((base) => ({ text: printable(base), branches: [] })) }
    if (origin.kind !== 'lineage') return { text, branches: [] }
    const { digest } = origin.read
    if (shown.has(digest)) return { text: `${text} (shown above)`, branches: [] }
    shown.add(digest)
    return { text, branches: historyBranches(origin.inputs, shown) }
  })
}

const linesOf = (branches: readonly HistoryBranch[], lead: string): string[] =>
  branches.flatMap(({ text, branches: below }, index) => {
    const isLast = index === branches.length - 1
    return [`${lead}${isLast ? '└─ ' : '├─ '}${text}`, ...linesOf(below, `${lead}${isLast ? '   ' : '│  '}`)]
  })

/** The whole history as text, with a line feed at its end. `name`: of the model. */
export function historyText(lineage: Lineage, ancestors: readonly Ancestor[], name: string): string {
  const head = printable(`${name}: made with terge ${lineage.terge}: ${methodText(lineage)}`)
  return `${[head, ...linesOf(historyBranches(ancestors), '')].join('\n')}\n`
}
