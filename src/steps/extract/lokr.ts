/**
 * LoKr (arXiv 2309.14859): a difference as a Kronecker product W1 ⊗ W2. The best one is the first singular triplet of the
 * difference with its elements in another order (Van Loan and Pitsianis 1993): a row per element of W1, and a column per element
 * of W2.
 */
import { elements } from '../../core/dtypes.js'
import { computeOf } from '../../expr/cost.js'
import type { Expr, PlanFactoring, ReadExpr } from '../../expr/types.js'
import type { Value, ValueTensor } from '../../expr/values.js'
import type { HeldWork } from '../../kernels/held/types.js'
import type { RecipeHead } from '../../language/types.js'
import { type AdaptedLayer, loadableTask, targetNames } from '../../networks/modules.js'
import type { View } from '../../views/types.js'
import { type AdapterConfig, baseOf, taskOf } from './config.js'
import type { ExtractStep } from './types.js'

/** A layer, and the shapes of W1 [rows, inputs] and of W2 [rows, inputs, kernel]. */
export interface KroneckerLayer {
  readonly tensor: string
  readonly module: string
  readonly layer: AdaptedLayer
}

/** Two factors of a size, as PEFT chooses them. */
function factorization(size: number, factor: number): readonly [number, number] {
  if (factor > 0 && size % factor === 0) return [factor, size / factor]
  const most = factor > 0 ? factor : size
  let [m, n] = [1, size]
  while (m < n) {
    let next = m + 1
    while (size % next !== 0) next++
    const other = size / next
    if (next + other > m + n || next > most) break
    m = next
    n = other
  }
  return m > n ? [n, m] : [m, n]
}

interface Sizes {
  readonly first: readonly [number, number]
  readonly second: readonly number[]
}

function sizesOf(shape: readonly number[], { turned }: AdaptedLayer, factor: number): Sizes {
  const [rows = 1, inputs = 1, ...kernel] = turned ? [shape[1]!, shape[0]!] : shape
  const [[a, b], [c, d]] = [factorization(rows, factor), factorization(inputs, factor)]
  return { first: [a, c], second: [b, d, ...kernel] }
}

/** A weight with a row per element of W1. Undefined if it is not read from a file. */
function rearranged(
  expr: Expr,
  shape: readonly number[],
  { turned }: AdaptedLayer,
  sizes: Sizes,
): ReadExpr | undefined {
  if (expr.kind !== 'read') return undefined
  const { first, second } = sizes
  const [b = 1, d = 1, ...kernel] = second
  const straight: View = turned ? { kind: 'permute', of: expr.view, axes: [1, 0] } : expr.view
  const parts: View = { kind: 'reshape', of: straight, shape: [first[0], b, first[1], d, elements(kernel)] }
  const ordered: View = { kind: 'permute', of: parts, axes: [0, 2, 1, 3, 4] }
  return shape.length < 2
    ? undefined
    : { kind: 'read', view: { kind: 'reshape', of: ordered, shape: [elements(first), elements(second)] } }
}

/** W1 and W2 of a layer, and the factoring that computes them. Undefined if a weight is the result of a step. */
export function kroneckerTensors(
  recipe: RecipeHead,
  step: ExtractStep,
  { tensor, module, layer }: KroneckerLayer,
  [from, base]: readonly [Value, Value],
  factorings: PlanFactoring[],
  workOf: (rows: number, columns: number, compute: HeldWork['compute']) => HeldWork,
): readonly (readonly [string, ValueTensor])[] | undefined {
  const { dtype, shape, expr } = base.tensors.get(tensor)!
  const sizes = sizesOf(shape, layer, step.lokr!.factor)
  const [own, other] = [from.tensors.get(tensor)!.expr, expr].map((one) => rearranged(one, shape, layer, sizes))
  if (!own || !other) return undefined
  const matrix = [elements(sizes.first), elements(sizes.second)] as const
  const work = workOf(...matrix, computeOf(recipe.compute, own, other))
  const factoring = factorings.push({ step: step.name, tensor, shape: matrix, from: own, base: other, work }) - 1
  const made = (factor: 'a' | 'b', shape: readonly number[]): ValueTensor => ({
    ...{ dtype, shape },
    expr: { kind: 'factor', step: step.name, factoring, factor, shape, inputs: [own, other] },
  })
  return [
    [`base_model.model.${module}.lokr_w1`, made('b', sizes.first)],
    [`base_model.model.${module}.lokr_w2`, made('a', sizes.second)],
  ]
}

/** `adapter_config.json`: PEFT holds both factors whole if its rank is at least half of their sides. */
export function kroneckerConfig(
  recipe: RecipeHead,
  { base: name, lokr }: ExtractStep,
  layers: readonly KroneckerLayer[],
  base: Value,
  config: Readonly<Record<string, unknown>> | undefined,
): AdapterConfig {
  const sides = layers.flatMap(({ tensor, layer }) =>
    sizesOf(base.tensors.get(tensor)!.shape, layer, lokr!.factor).second.slice(0, 2),
  )
  const rank = Math.max(...sides)
  const { path, revision } = baseOf(recipe, name)
  const weights = [...base.tensors.keys()]
    .filter((tensor) => tensor.endsWith('.weight'))
    .map((tensor) => tensor.slice(0, -7))
  return {
    alpha: rank,
    alpha_pattern: {},
    auto_mapping: null,
    base_model_name_or_path: path,
    decompose_both: false,
    decompose_factor: lokr!.factor,
    inference_mode: true,
    init_weights: true,
    module_dropout: 0,
    modules_to_save: null,
    peft_type: 'LOKR',
    r: rank,
    rank_dropout: 0,
    rank_dropout_scale: false,
    rank_pattern: {},
    revision,
    target_modules: targetNames(
      layers.map(({ module }) => module),
      weights,
    ),
    task_type: loadableTask(taskOf(config), base.tensors.keys(), new Set()),
    use_effective_conv2d: false,
  }
}
