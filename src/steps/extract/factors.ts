/** The two factors of a layer or of a stack of experts, and the factorings that compute them. */
import { nestedModule } from '../../adapters/peft/methods/experts.js'
import { computeOf } from '../../expr/cost.js'
import type { Expr, PlanFactoring } from '../../expr/types.js'
import type { AdapterModule, Value, ValueTensor } from '../../expr/values.js'
import type { HeldWork } from '../../kernels/held/types.js'
import type { Compute } from '../../kernels/types.js'
import type { RecipeHead } from '../../language/types.js'
import { factorNames, factorShapes } from '../../networks/modules.js'
import { factorWork } from '../shared/factorWork.js'
import type { PlanContext } from '../types.js'
import { matrixOf } from './parameters.js'
import type { Adapted } from './sort.js'
import type { ExtractStep } from './types.js'

/** A layer with its rank. */
export interface Ranked extends Adapted {
  /** The rank without `energy`. */
  readonly bound: number
}

/** What all layers share. `open`: ranks are bounds, and the run finds the ranks that reach the energy. */
export interface Form {
  readonly rank: number
  readonly alpha: number
  readonly open: boolean
}

/** The name of a matrix of a stack, for factorings. */
const matrixName = (tensor: string, expert: number): string => `${tensor}[${expert}]`

const namesOf = ({ tensor, parameter }: Adapted): string[] =>
  parameter?.experts === undefined
    ? [tensor]
    : Array.from({ length: parameter.experts }, (_, expert) => matrixName(tensor, expert))

/** The ranks of all layers. `rankOf`: those that reach the energy, if the run has found them. Of a stack: the largest of its matrices. */
export function rankedLayers(
  { name, rank: most, energy, above, alpha }: ExtractStep,
  adapted: readonly Adapted[],
  rankOf: PlanContext['rankOf'],
): { readonly ranked: readonly Ranked[]; readonly form: Form } {
  let open = (energy ?? above) !== undefined
  const ranked = adapted.map((one): Ranked => {
    const bound = Math.min(most ?? one.rank, one.rank)
    const found = namesOf(one).map((own) => rankOf(name, own))
    if (found.some((rank) => rank !== undefined)) open = false
    return { ...one, bound, rank: found.reduce<number>((largest, rank) => Math.max(largest, rank ?? bound), 0) }
  })
  // The scale is the same for all layers: that of the most usual rank of parameters, of which PEFT warns if they have others, or else
  // that of the largest rank.
  const parameters = ranked.filter(({ parameter, rank }) => parameter && rank > 0).map((own) => own.rank)
  const rank = mostFrequent(parameters) ?? ranked.reduce((largest, own) => Math.max(largest, own.rank), 0)
  return { ranked, form: { rank, alpha: alpha ?? rank, open } }
}

function mostFrequent(ranks: readonly number[]): number | undefined {
  const counts = new Map<number, number>()
  for (const rank of ranks) counts.set(rank, (counts.get(rank) ?? 0) + 1)
  return [...counts].sort(([a, times], [b, others]) => others - times || b - a)[0]?.[0]
}

/** What the result says of its modules. `all`: the parameters of the adapter. */
export const modulesOf = (ranked: readonly Ranked[], { rank: most, alpha }: Form): AdapterModule[] =>
  ranked.map((one) => ({
    ...{ module: one.module, kind: one.parameter || one.layer.kind === 'embedding' ? 'other' : 'layer' },
    ...{ ...storedAs(one, ranked), rank: one.rank, scale: alpha / most },
  }))

/** The names of the factors. PEFT nests the parameters of one module. */
function storedAs({ tensor, module, layer, parameter }: Adapted, all: readonly Adapted[]) {
  if (parameter?.experts === undefined) return factorNames(layer, module)
  const stacks = all.filter((one) => one.parameter?.experts !== undefined).map((one) => one.tensor)
  return factorNames(layer, nestedModule(tensor, stacks))
}

export type Named = readonly [name: string, tensor: ValueTensor]

/** A and B of a layer, [rank, in] and [out, rank]. Those of a stack have the ranks of all its matrices. */
export function factorTensors(
  recipe: RecipeHead,
  step: ExtractStep,
  form: Form,
  one: Ranked,
  all: readonly Ranked[],
  [from, base]: readonly [Value, Value],
  factorings: PlanFactoring[],
): Named[] {
  const { tensor, layer, rank, parameter } = one
  const { dtype, shape, expr } = base.tensors.get(tensor)!
  const inputs = [from.tensors.get(tensor)!.expr, expr] as const
  const matrix = parameter?.experts === undefined ? shape : shape.slice(1)
  const made = namesOf(one).map((name, expert) => {
    const [own, other] = inputs.map((input) => (matrix === shape ? input : matrixOf(input, expert))) as [Expr, Expr]
    const work = workOf(recipe, step, form, one, name, matrix, computeOf(recipe.compute, own, other))
    return factorings.push({ step: step.name, tensor: name, shape: matrix, from: own, base: other, work }) - 1
  })
  const [factoring, ...more] = made as [number, ...number[]]
  const names = storedAs(one, all)
  const { a, b } = factorShapes(layer, matrix, rank)
  const times = made.length
  const shapes = { a: [a[0]! * times, ...a.slice(1)], b: [b[0]!, b[1]! * times, ...b.slice(2)] }
  return (['a', 'b'] as const).map((factor) => {
    const stack = more.length > 0 ? { more } : {}
    const own = { kind: 'factor', step: step.name, factoring, ...stack, factor, shape: shapes[factor], inputs } as const
    return [names[factor], { dtype, shape: shapes[factor], expr: own }]
  })
}

export function workOf(
  recipe: RecipeHead,
  { from, method, oversampling, iterations, energy, above }: ExtractStep,
  form: Form,
  { layer, rank, bound }: Ranked,
  name: string,
  [rows = 1, ...rest]: readonly number[],
  compute: Compute,
): HeldWork {
  return factorWork(recipe, {
    ...{ rows, columns: rest.reduce((product, size) => product * size, 1), compute, rank, bound },
    ...{ method, oversampling, iterations, scale: form.alpha / form.rank, turned: layer.turned },
    ...(form.open && energy !== undefined ? { energy } : {}),
    ...(form.open && above !== undefined ? { above } : {}),
    stream: [from, name],
  })
}
