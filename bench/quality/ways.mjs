// How each method is run: with its defaults, and with one number that is tuned.

/** Factors of the default's scale: of what is added to the base. */
export const SCALES = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.2, 1.5, 2]
const SHARES = [0.2, 0.35, 0.65, 0.8]

/** Values of parameters that have no default. */
const REQUIRED = { slerp: { t: 0.5 }, nearswap: { t: 0.01 } }

/** Other numbers than the scale, for methods that do not add to a base: by method, the changed settings of each trial. */
const KNOBS = {
  cart: [0.25, 0.5, 1.5, 2].map((scale) => ({ parameters: { lambda: Number((2 * scale).toPrecision(6)) } })),
  regmean: [0, 0.3, 0.6, 1].map((alpha) => ({ parameters: { alpha } })),
  fisher: [1e-8, 1e-4, 1e-2].map((floor) => ({ parameters: { floor } })),
  slerp: SHARES.map((t) => ({ parameters: { t } })),
  nuslerp: SHARES.map((t) => ({ weights: [Number((1 - t).toFixed(2)), t] })),
  nearswap: [1e-3, 0.03, 0.1, 0.3].map((t) => ({ parameters: { t } })),
}

/** What cannot run here, and why. */
const REASONS = {
  formula: 'what it does is in the recipe',
}

/**
 * How a method is run. `of`: all three fine-tunes, each pair of them, or each alone. `scaled`: whether the tuned number is the scale of
 * what is added to the base, through `lines`. `trials`: other numbers to try.
 */
export function wayOf(method) {
  const missing = method.parameters.filter(
    (one) => one.default === undefined && !(one.name in (REQUIRED[method.name] ?? {})),
  )
  const reason =
    REASONS[method.name] ?? (missing.length > 0 ? `needs ${missing.map(({ name }) => name).join(', ')}` : undefined)
  if (reason) return { reason }
  const { most } = method.models
  return {
    of: most === 1 ? 'each' : most === 2 ? 'pairs' : 'all',
    scaled: method.base === 'required',
    trials: KNOBS[method.name] ?? [],
    settings: REQUIRED[method.name] ? { parameters: REQUIRED[method.name] } : {},
    statistics: method.statistics === true ? 'fisher' : method.statistics,
  }
}
