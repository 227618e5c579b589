/** Which tensors of the base go into an extracted adapter, and in which form. */
import type { Place } from '../../core/diagnostics.js'
import { sameShape } from '../../core/dtypes.js'
import { COPY_REASONS } from '../../core/reasons.js'
import { quote } from '../../core/suggest.js'
import { isFloat } from '../../encodings/index.js'
import type { PatternCount } from '../../expr/types.js'
import type { Value, ValueTensor } from '../../expr/values.js'
import { jsonForm } from '../../expr/walk.js'
import type { Faults } from '../../language/faults.js'
import type { RecipeHead } from '../../language/types.js'
import { type AdaptedLayer, moduleOf, SAVED_PARTS } from '../../networks/modules.js'
import { isConv1dName, type Orientations, orientations } from '../../networks/orientation.js'
import { type Decision, patternBook } from '../shared/patterns.js'
import type { InMemory } from './inMemory.js'
import { layersIn, parameterExcuse } from './layers.js'
import type { Parameter } from './parameters.js'
import type { ExtractStep } from './types.js'
import { SHARED_EMBEDDING } from './unfit.js'
import { holdersOf, isWithin, wholeModules } from './whole.js'

/** A layer that goes into the adapter. */
export interface Adapted {
  readonly tensor: string
  readonly module: string
  readonly layer: AdaptedLayer
  /** It is changed as a parameter. */
  readonly parameter?: Parameter
  readonly rank: number
}

/** The tensors of the base, sorted by what becomes of them. */
export interface Sorted {
  readonly patterns: readonly PatternCount[]
  readonly adapted: readonly Adapted[]
  /** Tensors without factors, with reasons. Empty: undecided. */
  readonly left: Map<string, string>
  /** Saved in full because of `modules_to_save: [NAME]` or another vocabulary. */
  readonly whole: { readonly modules: readonly string[]; readonly tensors: readonly string[] }
  /** Tensors with another number of rows in the tuned model. */
  readonly resized: readonly string[]
}

type Config = Readonly<Record<string, unknown>> | undefined

/** Undefined after an error: `tensor-mismatch`, `adapter-orientation`, `no-match`. */
export function sortTensors(
  recipe: RecipeHead,
  step: ExtractStep,
  { from, base, storedNames }: InMemory,
  config: Config,
  faults: Faults,
): Sorted | undefined {
  const place = recipe.placeOf([...step.at, step.key], 'value')
  const book = patternBook({ base: step.base, filters: step.filters, rules: [] })
  const oriented = orientations(base.tensors, config)
  const { chosen, resized, sound: named } = wholeModules(recipe, step, { from, base, storedNames }, faults)
  const layers = layersIn(step, base, config, oriented)
  const left = new Map<string, string>()
  const adapted: Adapted[] = []
  const whole: string[] = []
  let sound = named
  const wrong = (message: string, hint?: string) => {
    sound = false
    faults.error('tensor-mismatch', message, place, hint)
  }
  const refuseShared = (name: string) => {
    sound = false
    const message = `${name} can’t be saved whole: it is ${SHARED_EMBEDDING}`
    const hint = `exclude: [${quote(name)}] skips it, if modules_to_save does not name it`
    faults.error('adapter-saves', message, place, hint)
  }
  const checkShape = (name: string, own: ValueTensor, other: ValueTensor) => {
    if (sameShape(other.shape, own.shape)) return true
    const shapes = [other, own].map(({ shape }) => `[${shape.join(', ')}]`)
    wrong(
      `${name} is ${shapes[0]} in ${step.from} but ${shapes[1]} in ${step.base}: an adapter can’t change the shape`,
      `skip it: exclude: [${quote(name)}]`,
    )
    return false
  }
  for (const [name, own] of base.tensors) {
    const other = from.tensors.get(name)
    const decisions = storedNames(name).map((stored) => book.decide(stored, isFloat(own.dtype)))
    const [decision] = decisions as [Decision]
    if (decisions.some(({ kind }) => kind !== decision.kind))
      wrong(`include and exclude take only some parts of ${name}`, 'include or exclude all experts of a layer')
    const grown = isWithin(resized, name)
    if (isWithin(chosen, name) || (grown && decision.kind !== 'copy')) {
      if (layers.isShared(name)) refuseShared(name)
      else if (!other) wrong(`${name} should be saved whole, but ${step.from} has no such tensor`)
      else if (grown || checkShape(name, own, other)) whole.push(name)
      continue
    }
    const why = leftOut(step, decision, own, other) ?? layers.excuse(name, own.shape)
    if (why !== undefined) {
      left.set(name, why)
      continue
    }
    const { layer, parameter } = layers.of(name, own.shape)
    if ((layer || step.modulesToSave === true || isBias(step, name)) && !checkShape(name, own, other!)) continue
    const excuse = parameter && parameterExcuse(step, parameter, [own, other!])
    if (!layer || excuse !== undefined) left.set(name, excuse ?? '')
    else if (parameter) adapted.push(ofParameter(name, own.shape, layer, parameter))
    else if (layer.kind === 'linear' && !isOriented(name, own, oriented, faults.error, place)) sound = false
    else adapted.push({ tensor: name, module: moduleOf(name).module, layer, rank: shorterSide(own.shape) })
  }
  for (const name of from.tensors.keys()) if (!base.tensors.has(name)) left.set(name, `${step.base} has no such tensor`)
  const patterns = book.close(recipe, [...base.tensors.keys()].flatMap(storedNames), faults)
  if (!sound || patterns.some(({ matches }) => matches === 0)) return undefined
  const others = whole.filter((name) => !isWithin(chosen, name)).map((name) => moduleOf(name).module)
  return {
    ...{ patterns, adapted, left, whole: { modules: [...chosen, ...new Set(others)], tensors: whole } },
    resized: whole.filter((name) => !sameShape(from.tensors.get(name)!.shape, base.tensors.get(name)!.shape)),
  }
}

/** A stack has a factoring for each of its matrices. */
function ofParameter(tensor: string, shape: readonly number[], layer: AdaptedLayer, parameter: Parameter): Adapted {
  const rank = shorterSide(parameter.experts === undefined ? shape : shape.slice(1))
  return { tensor, module: moduleOf(tensor).module, layer, parameter, rank }
}

const isBias = ({ loraBias }: ExtractStep, name: string): boolean => loraBias && moduleOf(name).part === 'bias'

const shorterSide = ([rows = 1, ...rest]: readonly number[]): number =>
  Math.min(
    rows,
    rest.reduce((product, size) => product * size, 1),
  )

const textOf = ({ expr }: ValueTensor): string => JSON.stringify(jsonForm(expr))

const SAME = 'the same tensor in both'
/** Why a layer is left out after the run has found its rank. */
export const SMALL = 'no singular value above sv_epsilon'
/** Reasons that do not hold for a tensor of a module that is saved whole. */
const WHOLE_TOO: readonly string[] = [SAME, SMALL, COPY_REASONS['not-float']]

/** Why a tensor of any kind is not in the adapter. */
function leftOut(
  { from }: ExtractStep,
  decision: ReturnType<ReturnType<typeof patternBook>['decide']>,
  own: ValueTensor,
  other: ValueTensor | undefined,
): string | undefined {
  if (decision.kind === 'copy') return COPY_REASONS[decision.reason].replace(' by filters', '')
  if (!other) return `${from} has no such tensor`
  if (!isFloat(own.dtype) || !isFloat(other.dtype)) return COPY_REASONS['not-float']
  if (textOf(own) === textOf(other)) return SAME
  return undefined
}

/** Decides about tensors without factors: some are saved in the adapter in full, the others get their reasons. */
export function settleRest(
  step: ExtractStep,
  left: Map<string, string>,
  adapted: readonly Adapted[],
  { tensors }: Value,
): { readonly saved: readonly string[]; readonly biases: readonly string[] } {
  const layers = new Set(adapted.map(({ module }) => module))
  // PEFT copies a module with all that is inside of it.
  const holders = new Set([...tensors.keys()].flatMap((name) => holdersOf(moduleOf(name).module)))
  const [saved, biases]: [string[], string[]] = [[], []]
  for (const [name, why] of left) {
    if (why !== '') continue
    const { module, part } = moduleOf(name)
    const vector = tensors.get(name)!.shape.length <= 1
    const known = SAVED_PARTS.includes(part) && module !== ''
    if (layers.has(module)) {
      if (isBias(step, name)) biases.push(name)
      else left.set(name, part === 'bias' ? 'a bias of an adapted layer: lora_bias' : 'a part of an adapted layer')
    } else if (!known) left.set(name, 'no weight of a layer that adapters know')
    else if (holders.has(module)) left.set(name, 'a part of a module with others inside: modules_to_save: [NAME]')
    else if (step.modulesToSave === true) saved.push(name)
    else left.set(name, vector ? 'a norm or a bias: modules_to_save' : 'no low-rank form: modules_to_save')
  }
  // PEFT looks for all tensors of a copied module, those that are no numbers of training and unchanged ones too.
  const copied = new Set(saved.map((name) => moduleOf(name).module))
  for (const [name, why] of left) {
    const { module, part } = moduleOf(name)
    if (WHOLE_TOO.includes(why) && SAVED_PARTS.includes(part) && copied.has(module)) saved.push(name)
  }
  for (const name of [...saved, ...biases]) left.delete(name)
  return { saved, biases }
}

/**
 * Whether the orientation of a square layer is certain, if architectures store it in both ways ([in, out] in GPT-2).
 * Readers of the adapter know the class of the layer. Error: `adapter-orientation`.
 */
function isOriented(
  name: string,
  { shape }: ValueTensor,
  oriented: Orientations,
  tell: Faults['error'],
  place: Place | undefined,
): boolean {
  const { module } = moduleOf(name)
  if (shape.length !== 2 || shape[0] !== shape[1] || !isConv1dName(module)) return true
  const decision = oriented.of(module)
  if (decision === 'straight' || decision === 'turned') return true
  tell(
    'adapter-orientation',
    `${name} is square, so its shape does not show whether the layer is stored as [in, out], like Conv1D of transformers, or as [out, in]`,
    place,
    `write model_type in the base's config.json, or skip the layer: exclude: [${quote(name)}]`,
  )
  return false
}
