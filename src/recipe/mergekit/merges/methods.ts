/**
 * mergekit's methods: which parameters each reads, from where, what it takes for granted, and what the base is to it.
 * Known from its documentation and its behaviour.
 */

export interface Parameter {
  readonly name: string
  /** Its name in a recipe; absent where a recipe needs none (int8_mask). `weights` stands beside parameters. */
  readonly recipe?: string
  readonly type: 'number' | 'boolean'
  /** Absent: required. */
  readonly default?: number | boolean
  /** More counts as much. */
  readonly most?: number
}

export interface MergekitMethod {
  /**
   * task: the base is no participant. listed: it is one of two. first: it is the first of two. optional: what is merged
   * are differences from it where it is given. plain: it only lends its form.
   */
  readonly base: 'task' | 'listed' | 'first' | 'optional' | 'plain'
  /** Read for each model. */
  readonly perModel: readonly Parameter[]
  /** Read once a tensor: from a slice or from the whole, never from a model. */
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

/** Parameters that any method accepts without a word, since they only steer how mergekit works. */
export const ACCEPTED: readonly string[] = ['int8_mask']

/** Methods of which one model alone comes out as it went in. linear: only where it normalises; nearswap: only the base. */
export const ALONE: readonly string[] = [
  ...['linear', 'slerp', 'nuslerp', 'multislerp', 'karcher', 'arcee_fusion', 'nearswap'],
]

/** What linear does to one model where it does not normalise. */
export const SCALED: MergekitMethod = { base: 'plain', perModel: [number('weight', undefined, 'scale')], shared: [] }
