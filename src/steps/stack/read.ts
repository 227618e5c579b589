/** Reads a `stack` step: slices, and the stack of layers that they use. */
import { quote } from '../../core/suggest.js'
import { type Cursor, get, isMapping, itemsOf, numberOf, textOf } from '../../language/cursor.js'
import type { Report } from '../../language/report.js'
import type { Shuffle, StackStep } from './types.js'

/** A list of slices, or a mapping that also names the stack. */
const slicesOf = (at: Cursor): Cursor[] => itemsOf(isMapping(at) ? get(at, 'slices') : at)

/** The models, without layers. */
const nothingOf = (models: readonly string[], at: Cursor): StackStep['slices'] =>
  models.map((model) => ({ model, layers: [0, 0] as const, at: at.path }))

function readShuffle(at: Cursor, report: Report, use: (at: Cursor | undefined) => string): Shuffle | undefined {
  const listed = get(at, 'models')
  if (!listed) return undefined
  const models = itemsOf(listed).map(use)
  const written = get(at, 'weights')
  const weights = written ? itemsOf(written).map((item) => numberOf(item) ?? 0) : models.map(() => 1)
  if (written && weights.length !== models.length)
    report.error('bad-value', `there are ${weights.length} weights for ${models.length} models`, written.path, {
      hint: 'write one for each model',
    })
  else if (!weights.some((weight) => weight > 0))
    report.error('bad-value', 'all weights are 0', (written ?? listed).path, { hint: 'give one model a weight' })
  const seed = numberOf(get(at, 'seed'))
  return { models, weights, ...(seed === undefined ? {} : { seed }) }
}

/** `use` resolves the name of a model or step. */
export function stackStep(
  name: string,
  at: Cursor,
  report: Report,
  use: (at: Cursor | undefined) => string,
): StackStep {
  const written = [get(at, 'of'), ...slicesOf(at).map((slice) => get(slice, 'of'))].filter((of) => of !== undefined)
  const [of] = written
  const other = written.find((one) => textOf(one) !== textOf(of))
  if (other && of) {
    const message = `all slices must use the same stack of layers, not ${quote(textOf(of) ?? '')} and ${quote(textOf(other) ?? '')}`
    report.error('contradiction', message, other.path, { hint: 'write one step for each stack of layers' })
  }
  // [0, 0] only selects the model for embeddings, head or configuration. Any other empty range is a mistake.
  const slices = slicesOf(at).map((slice) => {
    const layers = get(slice, 'layers')
    const [first = 0, last = 0] = itemsOf(layers).map((item) => numberOf(item) ?? 0)
    const both = layers?.node.kind === 'list' && layers.node.items.length === 2
    if (both && (first > last || (first === last && first > 0))) {
      const hint = 'ranges are half-open: [0, 24] is layers 0 to 23'
      report.error('bad-value', `the range [${first}, ${last}] has no layers`, layers.path, { hint })
    }
    return { model: use(get(slice, 'model')), layers: [first, last] as const, at: slice.path }
  })
  const shuffle = readShuffle(at, report, use)
  const drawn = get(at, 'weights') ?? get(at, 'seed')
  if (isMapping(at) && Boolean(get(at, 'slices')) === Boolean(shuffle))
    report.error(shuffle ? 'contradiction' : 'missing-key', `stack needs either 'slices' or 'models'`, at.path, {
      part: 'key',
      hint: 'write slices: [{model: NAME, layers: [0, 24]}], or models: [NAME, NAME] to draw each layer',
    })
  else if (drawn && !shuffle)
    report.error('contradiction', 'weights and seed are for a draw from models, not for slices', drawn.path, {
      part: 'key',
      hint: 'remove it, or write models in place of slices',
    })
  const prefix = textOf(of)?.replace(/\.+$/, '')
  const named = of && prefix !== undefined ? { of: { prefix, at: of.path } } : {}
  return {
    kind: 'stack',
    name,
    at: at.path,
    ...named,
    slices: shuffle ? nothingOf(shuffle.models, at) : slices,
    ...(shuffle ? { shuffle } : {}),
  }
}
