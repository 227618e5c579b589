/**
 * Formula: the recipe says what each element is, as a formula over the models, their changes, weights and parameters of its own.
 *
 * Functions over models are written out for the models of a tensor, in the recipe's order. Numbers are computed in float64 and
 * rounded to the compute type where they meet elements; elements in the compute type, one rounding per operation. Functions of whole
 * tensors are passes before. A weighted sum of models, or of their changes, runs on the kernel of `linear` or `task_arithmetic`.
 * Where the formula gives NaN, an element that is not finite and the same in all models and the base comes out as it is.
 */
import { quote } from '../../core/suggest.js'
import type { Method, OpenMethod, ParameterSchema, Refusal, Resolved, TensorSettings, Written } from '../types.js'
import { buildGraph, type Known } from './build.js'
import { checkFormula } from './check.js'
import { formulaFault } from './faults.js'
import { RESERVED } from './functions.js'
import { parseFormula } from './parse.js'
import { formulaPasses, MOST_REGISTERS, NOTHING_TO_COMPUTE, type Program, programOf, registersOf } from './passes.js'
import type { FormulaFault, Node, OwnNames, Parsed, Uses } from './types.js'

const FORMULA: ParameterSchema = {
  name: 'formula',
  type: 'formula',
  describe: 'The formula, such as "base + sum(w * delta)". Its other names are parameters too, of any name.',
}

/** Recipes have few formulas, and plans ask for them once per tensor. */
const MOST_KNOWN = 256

/** Results by text. The oldest go first. */
function remembered<T>(make: (key: string) => T): (key: string) => T {
  const known = new Map<string, T>()
  return (key) => {
    const found = known.get(key)
    if (found !== undefined) return found
    if (known.size >= MOST_KNOWN) known.delete(known.keys().next().value!)
    const result = make(key)
    known.set(key, result)
    return result
  }
}

const parsed = remembered<Parsed>(parseFormula)

/** What a formula uses. Nothing, if it has an error. */
const NOTHING: Uses = { base: false, weights: false, layer: false, indexes: false, names: new Set() }

const usesOf = (text: string | undefined, own: OwnNames): Uses => {
  const tree = text === undefined ? undefined : parsed(text)
  return tree && 'root' in tree ? checkFormula(tree.root, { own, models: undefined }).uses : NOTHING
}

/** Parameters of the recipe's own, from the values at a tensor. */
const ownOf = (parameters: Readonly<Record<string, Resolved>>): OwnNames =>
  new Map(
    Object.entries(parameters)
      .filter(([name]) => name !== 'formula' && name !== 'layer')
      .map(([name, value]) => [name, { perModel: typeof value === 'object' }]),
  )

function rootOf(text: string): Node {
  const tree = parsed(text)
  if ('root' in tree) return tree.root
  throw new Error('internal: a plan with a formula that has errors')
}

type Built = { readonly program: Program } | { readonly faults: readonly FormulaFault[] }

/** A compiled formula by its text and all that it is built with. Weights that it does not use are not part of that. */
const built = remembered((key): Built => {
  const { text, ...known } = JSON.parse(key) as Known & { text: string }
  const root = rootOf(text)
  const graph = buildGraph(root, known)
  if (graph.faults.length > 0) return { faults: graph.faults }
  const program = programOf(graph)
  if (registersOf(program) <= MOST_REGISTERS) return { program }
  const message = `the formula has more than ${MOST_REGISTERS} results at a time`
  return { faults: [formulaFault(message, root.at, 'merge fewer models, or use a simpler formula')] }
})

function build({ parameters, weights, models }: Pick<TensorSettings, 'parameters' | 'weights' | 'models'>): Built {
  const text = String(parameters.formula)
  // `layer` is a name of the language, but its value is a parameter of the plan.
  return built(JSON.stringify({ text, models: models.length, weights, parameters: { ...parameters, formula: '' } }))
}

/** Errors that depend on weights and parameters. */
function refuse(settings: Pick<TensorSettings, 'parameters' | 'weights' | 'models'>): Refusal | undefined {
  const made = build(settings)
  const [fault] = 'faults' in made ? made.faults : []
  if (!fault) return undefined
  const { code, message, hint = 'change the formula', at } = fault
  return { parameter: 'formula', code, message, hint, within: { offset: at.start, length: at.end - at.start } }
}

const IDENTIFIER = /^[A-Za-z_][A-Za-z0-9_]*$/

const open: OpenMethod = {
  refusesName: (name) =>
    RESERVED.has(name)
      ? `${quote(name)} is a name of the formula language`
      : IDENTIFIER.test(name) && !name.startsWith('__')
        ? undefined
        : `${quote(name)} can’t be a name in a formula`,
  uses: ({ text, own }) => usesOf(text, own),
  faults({ text, own }, models) {
    const tree = parsed(text ?? '')
    return 'root' in tree ? checkFormula(tree.root, { own, models }).faults : [tree.fault]
  },
  with(written: Written): Method {
    const uses = usesOf(written.text, written.own)
    const own = [...written.own].map(
      ([name, { perModel }]): ParameterSchema => ({
        name,
        type: 'number',
        perModel,
        describe: 'A parameter of the formula.',
      }),
    )
    // What a formula with an error uses is unknown: nothing else is wrong because of it.
    if (uses === NOTHING) return { ...formula, models: { least: 1, needed: 1 }, parameters: [FORMULA, ...own] }
    const { base, weights, indexes } = uses
    return {
      ...formula,
      ...{ base: base ? 'required' : 'none', weights },
      // Without the other models, an index would mean another model, and a sum of one is no merge.
      models: { least: 1, needed: indexes ? 'all' : base ? 1 : 2 },
      parameters: [FORMULA, ...own],
    }
  },
}

export const formula: Method = {
  name: 'formula',
  aliases: [],
  summary: 'each element by a formula in the recipe',
  formula: 'what the parameter formula says',
  base: 'optional',
  weights: true,
  divides: () => false,
  models: { least: 1, needed: 2 },
  parameters: [FORMULA],
  byPlace: true,
  open,
  adapters: {
    kind: 'refused',
    why: 'a formula works on single elements of weights, which the factors of an adapter do not have',
  },
  effective: ({ weights, parameters }) =>
    usesOf(String(parameters.formula), ownOf(parameters)).weights ? weights : weights.map(() => null),
  refuse,
  passes(settings) {
    const made = build(settings)
    // An error is reported by now. Planning goes on to find others.
    return 'program' in made ? formulaPasses(made.program, settings) : NOTHING_TO_COMPUTE
  },
}
