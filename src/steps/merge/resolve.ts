import type { Method, ParameterSchema, Resolved } from '../../methods/types.js'
import { gradientAt, type LayerPlace } from '../../networks/layers.js'
import { usesLayer } from './formula/formed.js'
import type { MergeSettings } from './types.js'

/**
 * The parameters of a method for one tensor: the values of the recipe at the tensor's layer, and defaults for the
 * rest.
 */
export function resolveParameters(
  method: Method,
  settings: MergeSettings,
  models: readonly string[],
  place: LayerPlace,
): Record<string, Resolved> {
  const resolved: Record<string, Resolved> = {}
  for (const schema of method.parameters) {
    const value = resolveParameter(schema, settings, models, place)
    if (value !== undefined) resolved[schema.name] = value
  }
  const lines = settings.parameters.get('lines')?.value
  // As gradients do, tensors outside of layers have the number of the first one.
  if (usesLayer(method, settings)) resolved.layer = place.layer ?? 0
  if (lines?.kind === 'mapping') resolved.lines = linesFactor(lines.value, place)
  return resolved
}

/** `lines: {alpha, beta}` at a layer: alpha + beta·layer/(L−1). Outside layers and with a single layer: alpha. */
function linesFactor({ alpha, beta }: Readonly<Record<string, unknown>>, { layer, count: layers }: LayerPlace) {
  if (layer === undefined || layers < 2) return Number(alpha)
  return Number(alpha) + (Number(beta) * layer) / (layers - 1)
}

function resolveParameter(
  schema: ParameterSchema,
  settings: MergeSettings,
  models: readonly string[],
  place: LayerPlace,
): Resolved | undefined {
  const written = settings.parameters.get(schema.name)?.value
  const fallback = schema.default
  if (written === undefined || written.kind === 'mapping') {
    return schema.perModel && typeof fallback === 'number' ? models.map(() => fallback) : fallback
  }
  if (written.kind === 'scalar') return written.value
  if (written.kind === 'gradient') {
    const value = gradientAt(written.value, place)
    return schema.perModel ? models.map(() => value) : value
  }
  return models.map((model) => {
    const gradient = written.values.get(model)
    if (gradient) return gradientAt(gradient, place)
    if (typeof fallback === 'number') return fallback
    throw new Error(`internal: parameter ${schema.name} has neither a value nor a default for ${model}`)
  })
}

/** The weights of the models at the tensor's layer. */
export function resolveWeights(settings: MergeSettings, models: readonly string[], place: LayerPlace): number[] {
  return models.map((model) => gradientAt(settings.weights[settings.models.indexOf(model)]!, place))
}
