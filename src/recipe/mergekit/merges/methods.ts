/**
 * mergekit's methods: the parameters of each, where they can be set, their defaults, and the role of the base. From
 * mergekit's documentation and behaviour.
 */

export interface Parameter {
  readonly name: string
  /** The name in a recipe. Absent if a recipe does not need it (int8_mask). `weights` is a key next to parameters. */
  readonly recipe?: string
  readonly type: 'number' | 'boolean'
  /** The default. Absent: required. */
  readonly default?: number | boolean
  /** The maximum. Larger values have the same effect. */
  readonly most?: number
}

export interface MergekitMethod {
  /**
   * task: the base is not one of the merged models. listed: it is one of two. first: it is the first of two.
   * optional: if given, the method merges differences from it. plain: only its names and shapes are used.
   */
  readonly base: 'task' | 'listed' | 'first' | 'optional' | 'plain'
  /** Set per model. */
  readonly perModel: readonly Parameter[]
  /** Set per tensor, in a slice or in the document, never in a model. */
  readonly shared: readonly Parameter[]
}

const number = (name: string, value?: number, recipe = name): Parameter => ({
  name,
  recipe,
  type: 'number',
  ...(value === undefined ? {} : { default: value }),
})
const boolean = (name: string, value: boolean, recipe = name): Parameter => ({
  name,
  recipe,
  type: 'boolean',
  default: value,
})

const weight = number('weight', undefined, 'weights')
const int8Mask: Parameter = { name: 'int8_mask', type: 'boolean', default: false }

const task = (normalize: boolean, rescale: boolean | undefined, ...more: readonly Parameter[]): MergekitMethod => ({
  base: 'task',
  perModel: [weight, ...(rescale === undefined ? [] : [{ ...number('density', 1), most: 1 }]), ...more],
  shared: [
    int8Mask,
    boolean('normalize', normalize),
    ...(rescale === undefined ? [] : [boolean('rescale', rescale)]),
    number('lambda', 1),
  ],
})
const simple = (base: MergekitMethod['base'], ...shared: readonly Parameter[]): MergekitMethod => ({
  base,
  perModel: [],
  shared,
})

const gamma = number('gamma', 0.01)
const epsilon = number('epsilon', 0.15)

export const MERGEKIT_METHODS: Readonly<Record<string, MergekitMethod>> = {
  linear: { base: 'plain', perModel: [weight], shared: [boolean('normalize', true)] },
  slerp: simple('first', number('t')),
  nuslerp: {
    base: 'optional',
    perModel: [weight],
    shared: [boolean('nuslerp_flatten', true, 'flatten'), boolean('nuslerp_row_wise', false, 'row_wise')],
  },
  multislerp: {
    base: 'optional',
    perModel: [weight],
    shared: [boolean('normalize_weights', true), number('eps', 1e-8)],
  },
  karcher: simple('plain', number('max_iter', 10), number('tol', 1e-5)),
  passthrough: { base: 'plain', perModel: [number('scale', 1)], shared: [] },
  task_arithmetic: task(false, undefined),
  ties: task(true, false),
  dare_linear: task(false, true),
  dare_ties: task(false, true),
  della_linear: task(false, true, epsilon),
  della: task(true, true, epsilon),
  breadcrumbs: task(false, false, gamma),
  breadcrumbs_ties: task(false, false, gamma),
  model_stock: simple('task', boolean('filter_wise', false)),
  sce: simple('task', int8Mask, { ...number('select_topk', 1), most: 1 }),
  arcee_fusion: simple('listed'),
  nearswap: simple('listed', number('t')),
  ram: simple('task', number('epsilon', 1e-5)),
  ramplus_tl: simple('task', number('r', 0.1), number('alpha', 0.2), number('epsilon', 1e-5)),
}

/** Parameters that every method accepts without a warning, because they only control how mergekit works. */
export const ACCEPTED: readonly string[] = ['int8_mask']

/** Methods that return a single model unchanged. linear: only with normalize. nearswap: only the base. */
export const ALONE: readonly string[] = [
  ...['linear', 'slerp', 'nuslerp', 'multislerp', 'karcher', 'arcee_fusion', 'nearswap'],
]

/** What linear does with one model and without normalize. */
export const SCALED: MergekitMethod = { base: 'plain', perModel: [number('weight', undefined, 'scale')], shared: [] }
