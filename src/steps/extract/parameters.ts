/**
 * Weights that PEFT changes as parameters (`target_parameters`), not as layers: stacks of experts, and in networks with stacks also
 * routers, which are no linear layers in transformers 5, and layers whose names PEFT takes for those of single experts.
 */
import { storesTransposed } from '../../adapters/kinds/experts.js'
import type { Expr } from '../../expr/types.js'
import type { Value } from '../../expr/values.js'
import { placeOf } from '../../layouts/parts.js'
import { moduleOf } from '../../networks/modules.js'

const STACK = /(^|\.)experts\.(gate_up_proj|up_proj|down_proj)$/
const ROUTER = /^(.+)\.(gate|router)\.weight$/
/** PEFT renames targets that end so, in networks whose experts had these names in transformers 4. */
const RENAMED = /\.(gate_proj|up_proj|down_proj|w1|w2|w3)\.weight$/

/** A parameter: a matrix, or a stack of them. */
export interface Parameter {
  /** The number of matrices of a stack. */
  readonly experts?: number
  /** Whether PEFT takes the matrices of the stack as [inputs, outputs]. */
  readonly turned: boolean
}

type Config = Readonly<Record<string, unknown>> | undefined

/**
 * What a tensor is as a parameter; undefined for those that are changed as layers. `renames`: whether PEFT renames targets of this kind of
 * adapter.
 */
export function parametersOf(
  { tensors }: Value,
  config: Config,
  renames: boolean,
): (name: string, shape: readonly number[]) => Parameter | undefined {
  const isStack = (name: string, { length }: readonly number[]): boolean => length === 3 && STACK.test(name)
  const stacks = [...tensors].filter(([name, { shape }]) => isStack(name, shape)).map(([name]) => name)
  const owners = new Set(stacks.map((name) => name.replace(STACK, '')))
  const turned = storesTransposed(config)
  return (name, shape) => {
    if (isStack(name, shape)) return { experts: shape[0]!, turned }
    if (stacks.length === 0 || shape.length !== 2) return undefined
    const owner = ROUTER.exec(name)?.[1]
    return (renames && RENAMED.test(name)) || (owner !== undefined && owners.has(owner)) ? { turned: false } : undefined
  }
}

/** One matrix of a stack, [rows, columns]. Undefined if the stack is the result of a step. */
export const matrixOf = (expr: Expr, expert: number): Expr | undefined =>
  expr.kind === 'read' ? { kind: 'read', view: placeOf(expr.view, expert) } : undefined

/**
 * The shortest names that match these parameters and no other tensor: the last part of the module's name and the parameter's, where no
 * other tensor ends so.
 */
export function parameterNames(parameters: readonly string[], all: Iterable<string>): string[] {
  const meant = new Set(parameters)
  const endOf = (name: string): string => {
    const { module, part } = moduleOf(name)
    const own = module.slice(module.lastIndexOf('.') + 1)
    return /^\d+$/.test(own) ? name : `${own}.${part}`
  }
  const others = new Set<string>()
  for (const name of all) if (!meant.has(name)) others.add(endOf(name))
  return [...new Set(parameters.map((name) => (others.has(endOf(name)) ? name : endOf(name))))].sort()
}
