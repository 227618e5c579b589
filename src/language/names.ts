import { didYouMean, nearest, quote } from '../core/suggest.js'
import { type Cursor, textOf } from './cursor.js'
import type { Report } from './report.js'
import type { ModelSource } from './types.js'

export const HUB = /^([\w.-]+\/[\w.-]+)(?:@(\S+))?$/

/** What a name can mean at one place of a recipe. */
export interface Scope {
  readonly models: ReadonlyMap<string, ModelSource>
  readonly steps: readonly string[]
  /** By a model's name, the step that takes its place: after a rebasin in the short form. */
  readonly replaced: ReadonlyMap<string, string>
  readonly report: Report
}

export interface Participant {
  /** As the recipe writes it. */
  readonly written: string
  /** The model or step that it means; empty where it means none. */
  readonly name: string
}

/** A misspelt name is told, and read as the one it was meant to be. */
export function resolveName(at: Cursor | undefined, scope: Scope): Participant | undefined {
  const written = textOf(at)
  if (at === undefined || written === undefined) return undefined
  const known = [...scope.models.keys(), ...scope.steps]
  if (known.includes(written)) return { written, name: scope.replaced.get(written) ?? written }
  // Without any model there is a fault already, and every name would be unknown.
  if (scope.models.size === 0) return { written, name: '' }
  const what = scope.steps.length > 0 ? 'model or step' : 'model'
  const hint = didYouMean(written, known, 'models')
  scope.report.error('unknown-model', `there is no ${what} ${quote(written)}`, at.path, { hint })
  const [meant] = nearest(written, known, 1)
  return meant === undefined ? { written, name: '' } : { written: meant, name: scope.replaced.get(meant) ?? meant }
}

/** The parts of `hf:org/name@revision`; nothing where the text is no such reference. */
export function hubParts(reference: string): { repository: string; revision?: string } | undefined {
  const [, repository, revision] = (reference.startsWith('hf:') && HUB.exec(reference.slice(3))) || []
  return repository === undefined ? undefined : { repository, ...(revision === undefined ? {} : { revision }) }
}
