/** The functions and names of the formula language. */

/** What a function does, and with how many arguments. */
export interface FunctionRule {
  readonly name: string
  /** One form, or two: `min(e)` runs over models, `min(a, b)` compares. */
  readonly args: readonly number[]
  /** As in docs/formulas.md. */
  readonly form: string
  readonly kind: 'element' | 'models' | 'tensor' | 'where'
  readonly about: string
}

/** In the order of the documentation. */
// biome-ignore format: one function per line
export const FUNCTIONS: readonly FunctionRule[] = [
  { name: 'abs', args: [1], form: 'abs(a)', kind: 'element', about: 'the magnitude' },
  { name: 'sqrt', args: [1], form: 'sqrt(a)', kind: 'element', about: 'the square root; NaN below 0' },
  { name: 'exp', args: [1], form: 'exp(a)', kind: 'element', about: 'e to the power of a' },
  { name: 'log', args: [1], form: 'log(a)', kind: 'element', about: 'the natural logarithm; NaN below 0' },
  { name: 'tanh', args: [1], form: 'tanh(a)', kind: 'element', about: 'the hyperbolic tangent' },
  { name: 'sign', args: [1], form: 'sign(a)', kind: 'element', about: '1, -1, or a itself where it is 0 or NaN' },
  { name: 'clamp', args: [3], form: 'clamp(a, low, high)', kind: 'element', about: 'min(max(a, low), high)' },
  { name: 'where', args: [3], form: 'where(a < b, c, d)', kind: 'where', about: 'c where the comparison is true, d where it is false, NaN where a or b is NaN' },
  { name: 'min', args: [1, 2], form: 'min(a, b)', kind: 'models', about: 'the smaller number; NaN if a or b is NaN' },
  { name: 'max', args: [1, 2], form: 'max(a, b)', kind: 'models', about: 'the larger number; NaN if a or b is NaN' },
  { name: 'sum', args: [1], form: 'sum(e)', kind: 'models', about: 'the sum over models, added in their order' },
  { name: 'mean', args: [1], form: 'mean(e)', kind: 'models', about: 'the sum over models, divided by their number' },
  { name: 'median', args: [1], form: 'median(e)', kind: 'models', about: 'the middle value over models; of an even number (lo + hi)·0.5 of the middle two; NaN if any is NaN' },
  { name: 'tensor_norm', args: [1], form: 'tensor_norm(e)', kind: 'tensor', about: 'the square root of the sum of squares of all elements' },
  { name: 'tensor_mean', args: [1], form: 'tensor_mean(e)', kind: 'tensor', about: 'the mean of all elements' },
  { name: 'tensor_max', args: [1], form: 'tensor_max(e)', kind: 'tensor', about: 'the largest element; NaN if any is NaN' },
  { name: 'tensor_quantile', args: [2], form: 'tensor_quantile(e, q)', kind: 'tensor', about: 'the k-th largest element, k = max(1, floor((1 − q)·N)) of N elements' },
]

const byName = new Map(FUNCTIONS.map((one) => [one.name, one]))

export const functionOf = (name: string): FunctionRule | undefined => byName.get(name)

/** One value for each merged model: with an index, or inside a function that runs over models. */
export const MODEL_NAMES: readonly string[] = ['x', 'delta', 'w']
const TENSOR_NAMES: readonly string[] = ['base', 'layer']

/** Names that parameters of the recipe's own can’t have. */
export const RESERVED: ReadonlySet<string> = new Set([
  ...FUNCTIONS.map(({ name }) => name),
  ...MODEL_NAMES,
  ...TENSOR_NAMES,
  'formula',
])

/** Every name that is not a function. */
export const VARIABLES: readonly string[] = [...MODEL_NAMES, ...TENSOR_NAMES]
