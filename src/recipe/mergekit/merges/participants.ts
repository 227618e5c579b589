/** The models of a mergekit merge in order, and the terge method for it. */
import { quote } from '../../../core/suggest.js'
import type { Complaints } from '../complaints.js'
import type { Known } from '../models.js'
import { atomOf, evaluate } from '../settings.js'
import type { Config, Reference, Slice, Source } from '../types.js'
import type { Participant } from './merge.js'
import { ALONE, type MergekitMethod, SCALED } from './methods.js'

export const participant = (
  source: Source,
  { name }: Known,
  shift: number,
  base: Reference | undefined,
): Participant => ({
  name,
  written: source.model.text,
  parameters: source.parameters,
  shift,
  isBase: source.model.text === base?.text,
  at: source.at,
})

interface Chosen {
  readonly participants: readonly Source[]
  /** The model that gives the result its names, shapes and configuration. */
  readonly template: Source
}

/**
 * The merged models in order, and the model that gives names and shapes. Errors: `missing-base`, `base-listed`.
 * Warning: `base-aside`.
 */
export function choose(
  config: Config,
  slice: Slice,
  sources: readonly Source[],
  given: Reference | undefined,
  known: MergekitMethod,
  complain: Complaints,
): Chosen | undefined {
  const method = config.method.text
  const base = given && sources.find(({ model }) => model.text === given.text)
  const others = sources.filter((source) => source !== base)
  if (!base && known.base !== 'plain' && (given || known.base !== 'optional')) {
    const message = given
      ? `${method} needs the base ${quote(given.text)} among the sources of this slice`
      : `${method} needs a base_model`
    complain.error(
      'missing-base',
      message,
      given ? slice.at : config.method.at,
      given ? 'add it as a source' : 'write base_model: MODEL',
    )
    return undefined
  }
  switch (known.base) {
    case 'task':
      return { participants: others, template: base! }
    case 'listed':
    case 'first':
      return { participants: [base!, ...others], template: base! }
    case 'optional': {
      if (!base) return { participants: sources, template: sources[0]! }
      if (method === 'nuslerp' && config.slices.some(({ sources }) => sources.includes(base)) && !config.sliced) {
        const hint = 'remove base_model, or remove it from the models'
        complain.error('base-listed', 'the base model of nuslerp can’t be one of the two models', base.at, hint)
      }
      return { participants: others, template: base }
    }
    case 'plain': {
      const weightless = (source: Source): boolean =>
        known.perModel.some(({ name, default: value }) => value === undefined && !valueFor(config, slice, source, name))
      const silent = base && (weightless(base) || (method === 'passthrough' && others.length > 0)) ? base : undefined
      if (silent) {
        const message = `the base ${quote(silent.model.text)} has no weight: ${method} uses its names and shapes, not its values`
        complain.warn('base-aside', message, silent.at, 'mergekit rejects this; give the base a weight, or remove it')
      }
      const participants = sources.filter((source) => source !== silent)
      return { participants, template: base ?? participants[0]! }
    }
  }
}

export const valueFor = (config: Config, slice: Slice, source: Source, name: string): boolean =>
  [source.parameters, slice.parameters, ...config.parameters].some((level) => level?.entries.has(name))

/** The method in the recipe. With a single model there is nothing to merge. */
export function asked(
  config: Config,
  slice: Slice,
  known: MergekitMethod,
  participants: number,
  complain: Complaints,
): { method: string; known: MergekitMethod } {
  const method = config.method.text
  const nothing = { method: 'passthrough', known: { ...SCALED, perModel: [] } }
  if (participants === 0) return nothing
  if (participants > 1 || !ALONE.includes(method)) return { method, known }
  if (method !== 'linear') return nothing
  const [level] = [slice.parameters, ...config.parameters].flatMap(
    (level) => level?.entries.get('normalize')?.value ?? [],
  )
  if (!level) return nothing
  const value = atomOf(evaluate(level, () => false) ?? level, { name: 'normalize', type: 'boolean' }, complain)
  return value?.json === 'false' ? { method: 'passthrough', known: SCALED } : nothing
}
