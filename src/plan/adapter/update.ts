import { isFloat } from '../../encodings/index.js'
import type { LoraExpr, LoraFactor, ReadExpr } from '../../expr/types.js'
import { sameShape, type ValueTensor } from '../../expr/values.js'
import type { Orientation } from '../../networks/orientation.js'
import { mainStored } from '../../views/stored.js'
import type { AdapterSettings, Reporter } from './config.js'
import type { Update } from './tensors.js'

/** The kernel packs at least one panel of a factor, and a worker's scratch space is limited. */
const MOST_RANK = 1 << 16
const RIGHT_BASE = 'use the base model that the adapter was trained on'

/** Reports that the rank of a module's factors differs from the configuration. */
export const refuseRank = (module: string, stored: number, written: number, reporter: Reporter): void =>
  reporter.error(
    'adapter-rank',
    `${module} has rank ${stored} in the tensors and ${written} in adapter_config.json`,
    'the files do not belong together: download the adapter again',
  )

/**
 * A module's weight with its update. Undefined after an error: `adapter-shape`, `adapter-rank` or
 * `adapter-orientation`.
 */
export function updated(
  weight: ValueTensor,
  { module, kind, a, b }: Update,
  settings: AdapterSettings,
  loraScale: number,
  oriented: (module: string) => Orientation | undefined,
  reporter: Reporter,
): LoraExpr | undefined {
  const { shape, dtype, expr } = weight
  const shapes = `A [${a.shape.join(', ')}], B [${b.shape.join(', ')}] and the weight [${shape.join(', ')}]`
  const misfit = (why: string): undefined =>
    reporter.error('adapter-shape', `${module}: ${why}: ${shapes}`, RIGHT_BASE) as undefined
  const rank = settings.rank(module)
  if (a.shape.length < 2 || b.shape.length < 2) return misfit('the factors are not matrices')
  if (a.shape[0] !== rank || b.shape[1] !== rank) {
    if (a.shape[0] === b.shape[1]) {
      refuseRank(module, a.shape[0]!, rank, reporter)
      return undefined
    }
    return a.shape[0] === rank
      ? misfit('this is a grouped convolution, or its factors have different ranks')
      : misfit('the ranks differ')
  }
  if (rank > MOST_RANK) {
    reporter.error(
      'adapter-rank',
      `${module} has rank ${rank}; terge supports ranks up to ${MOST_RANK}`,
      'merge the adapter with PEFT',
    )
    return undefined
  }
  if (![a, b].every(({ dtype }) => isFloat(dtype)) || !isFloat(dtype))
    return misfit(`terge can't add factors in ${a.dtype} and ${b.dtype} to a weight in ${dtype}`)
  if (expr.kind !== 'read') return misfit('the adapter changes it twice')
  const [inputs, outputs] = [a.shape.slice(1), b.shape[0]!]
  const factor = ({ expr }: ValueTensor, byRank: boolean): LoraFactor => ({ read: expr as ReadExpr, byRank })
  const straight = { left: factor(b, false), right: factor(a, true) }
  const turned = { left: factor(a, true), right: factor(b, false) }
  const fits = b.shape.slice(2).every((size) => size === 1)
  const isStraight = fits && kind === 'weight' && sameShape(shape, [outputs, ...inputs])
  const isTurned = fits && inputs.length === 1 && sameShape(shape, [inputs[0]!, outputs])
  if (!isStraight && !isTurned) return misfit('the shapes do not fit')
  // A square weight fits in both orientations.
  const orientation = isStraight && isTurned ? oriented(module) : isStraight ? 'straight' : 'turned'
  if (orientation === undefined) return undefined
  const factors = orientation === 'straight' ? straight : turned
  return { kind: 'lora', base: expr, shape, rank, scale: loraScale * settings.scale(module), ...factors }
}

/**
 * Finds the model's tensor for a name in the network: by its stored name, then by the name in the recipe. Libraries add
 * a prefix to all names or remove it, so one leading part more or less still matches.
 */
export function finder(tensors: ReadonlyMap<string, ValueTensor | undefined>): (name: string) => string | undefined {
  const names = new Map<string, string>()
  const bare = new Map<string, string | undefined>()
  for (const given of tensors.keys()) names.set(given, given)
  const stored = new Map<string, string>()
  for (const [given, tensor] of tensors) {
    if (tensor?.expr.kind !== 'read') continue
    const { tensor: name } = mainStored(tensor.expr.view)
    // A tied head has another name for the same stored tensor.
    if (!stored.has(name) || given === name) stored.set(name, given)
  }
  for (const [name, given] of stored) names.set(name, given)
  for (const [name, given] of names) {
    const short = name.slice(name.indexOf('.') + 1)
    bare.set(short, bare.has(short) && bare.get(short) !== given ? undefined : given)
  }
  return (name) => names.get(name) ?? names.get(name.slice(name.indexOf('.') + 1)) ?? bare.get(name)
}
