/** Rules of experts, which are stored one by one or all in one tensor. */
import { hiddenSize } from '../../facts.js'
import { nameOf } from '../../names.js'
import type { Facts, FamilyForm, Form, LayoutRule, NamePattern } from '../../types.js'

export const LAYER = '{prefix}layers.{layer}'

/** The names of the matrices of one expert, without its place. */
export interface ExpertNames {
  /** [intermediate, hidden]. Absent in networks without a gate. */
  readonly gate?: string
  readonly up: string
  /** [hidden, intermediate]. */
  readonly down: string
}

/** As in Llama. */
export const PROJECTIONS: ExpertNames = { gate: 'gate_proj', up: 'up_proj', down: 'down_proj' }

/** As in Mixtral. */
export const NUMBERED: ExpertNames = { gate: 'w1', up: 'w3', down: 'w2' }

/** Every expert's tensor as one place of a new first axis. */
const stacked = (form: Form): Form => ({ stack: form, over: 'expert' })

/**
 * All experts in two tensors with rows: `gate_up_proj` [experts, 2 · intermediate, hidden], the gate's rows first, and
 * `down_proj` [experts, hidden, intermediate]. `own`: where the tensors of one expert are, `fused`: where those of all are.
 */
export function rows(
  own: NamePattern,
  fused: NamePattern,
  { gate, up, down }: ExpertNames = PROJECTIONS,
): LayoutRule[] {
  const at = (matrix: string): string => `${own}.{expert}.${matrix}.weight`
  return [
    gate === undefined
      ? { tensor: `${fused}.up_proj`, is: stacked(at(up)) }
      : { tensor: `${fused}.gate_up_proj`, is: stacked({ concat: [at(gate), at(up)], axis: 0 }) },
    { tensor: `${fused}.down_proj`, is: stacked(at(down)) },
  ]
}

/**
 * All experts in two tensors with columns: `gate_up_proj` [experts, hidden, 2 · intermediate] and `down_proj` [experts,
 * intermediate, hidden]. `halves`: the gate's columns come first. `in turn`: gate and up take turns.
 */
export function columns(experts: NamePattern, gateUp: 'halves' | 'in turn'): LayoutRule[] {
  const at = (matrix: string): string => `${experts}.{expert}.${matrix}.weight`
  const both: Form = {
    concat: [at('gate_proj'), at('up_proj')],
    axis: 0,
    ...(gateUp === 'halves' ? {} : { groups: gateUp }),
  }
  return [
    { tensor: `${experts}.gate_up_proj`, is: stacked({ transpose: both }) },
    { tensor: `${experts}.down_proj`, is: stacked({ transpose: at('down_proj') }) },
  ]
}

/** The biases of `columns` and `in turn`. */
export const biases = (experts: NamePattern): LayoutRule[] => [
  {
    tensor: `${experts}.gate_up_proj_bias`,
    is: stacked({
      concat: [`${experts}.{expert}.gate_proj.bias`, `${experts}.{expert}.up_proj.bias`],
      axis: 0,
      groups: 'in turn',
    }),
  },
  { tensor: `${experts}.down_proj_bias`, is: stacked(`${experts}.{expert}.down_proj.bias`) },
]

/**
 * Whether tensors of all experts have rows or columns. Two shapes tell it even where 2 · intermediate is hidden:
 * `gate_up_proj` alone would be square then. Without `down_proj` the configuration's hidden size tells it.
 */
export const orientedAs =
  (experts: NamePattern, wanted: 'rows' | 'columns'): NonNullable<FamilyForm['fits']> =>
  (facts) => {
    const [gateUp, down] = [nameOf(`${experts}.gate_up_proj`), nameOf(`${experts}.down_proj`)]
    const found = [...facts.shapes].flatMap(([name, { shape }]) => {
      const captures = gateUp.match(name)
      return captures ? [orientation(shape, facts.shapes.get(down.fill(captures))?.shape, facts)] : []
    })
    if (found.length === 0 || found.includes(undefined)) return undefined
    return found.every((one) => one === wanted)
  }

function orientation(
  [, a, b]: readonly number[],
  down: readonly number[] | undefined,
  facts: Facts,
): 'rows' | 'columns' | 'neither' | undefined {
  if (down) {
    const [, c, d] = down
    if (b === c && a === 2 * d!) return 'rows'
    return a === d && b === 2 * c! ? 'columns' : 'neither'
  }
  const hidden = hiddenSize(facts)
  if (typeof hidden === 'string' || a === b) return undefined
  return b === hidden ? 'rows' : a === hidden ? 'columns' : 'neither'
}
